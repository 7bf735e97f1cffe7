"""The tables of the `catalog` schema.

Three SQL functions of the schema, made by its migrations, fold text for searching:
`fold` for sentences, `search_key` for names, `initials_key` for Korean initial
consonants. A trigger on tokens keeps `token_changes`.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from services.runtime.tables import metadata_of

metadata = metadata_of("catalog")

URL_LENGTH = 2000


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's xid8: a number of 64 bits that is never used twice."""

    cache_ok: bool | None = True

    def get_col_spec(self, **_: object) -> str:
        """Its name in PostgreSQL."""
        return "xid8"


# So that Alembic recognises the column it has made.
ischema_names["xid8"] = TransactionId


def _id() -> Column[int]:
    return Column("id", Integer, Identity(always=True), primary_key=True)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _version() -> Column[int]:
    return Column("version", Integer, nullable=False, server_default="1")


def _length(column: str, least: int, most: int) -> CheckConstraint:
    return CheckConstraint(f"char_length({column}) BETWEEN {least} AND {most}", name=column)


def _composed(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IS NFC NORMALIZED", name=f"{column}_nfc")


def _key(column: str) -> CheckConstraint:
    return CheckConstraint(
        f"{column} LIKE 'references/%' AND char_length({column}) <= 500", name=column
    )


def _trigrams(name: str, expression: str) -> Index:
    return Index(
        name,
        literal_column(expression).label("key"),
        postgresql_using="gin",
        postgresql_ops={"key": "gin_trgm_ops"},
    )


actors = Table(
    "actors",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _now("create_time"),
    _now("update_time"),
    _version(),
    _length("name", 1, 200),
    _composed("name"),
    _trigrams("ix_actors_search_key", "catalog.search_key(name)"),
    _trigrams("ix_actors_initials_key", "catalog.initials_key(name)"),
)

actor_aliases = Table(
    "actor_aliases",
    metadata,
    Column("actor_id", ForeignKey(actors.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("alias", Text, nullable=False),
    UniqueConstraint("actor_id", "alias"),
    _length("alias", 1, 200),
    _composed("alias"),
    _trigrams("ix_actor_aliases_search_key", "catalog.search_key(alias)"),
    _trigrams("ix_actor_aliases_initials_key", "catalog.initials_key(alias)"),
)

tokens = Table(
    "tokens",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("source_url", Text, nullable=False),
    Column("start_time", Double, nullable=False),
    Column("end_time", Double, nullable=False),
    Column("voice_key", Text),
    Column("pitch_key", Text),
    Column("alignment_key", Text),
    Column("background_key", Text),
    Column("view_count", Integer, nullable=False, server_default="0"),
    Column("revision", Integer, nullable=False, server_default="1"),
    _now("create_time"),
    Column("thumbnail_url", Text, nullable=False, server_default=""),
    _now("update_time"),
    _version(),
    CheckConstraint("start_time >= 0 AND end_time > start_time", name="span"),
    CheckConstraint("end_time - start_time <= 600", name="duration"),
    CheckConstraint("view_count >= 0", name="view_count"),
    CheckConstraint("revision >= 1", name="revision"),
    _length("name", 1, 200),
    _composed("name"),
    _length("category", 0, 100),
    _length("source_url", 0, URL_LENGTH),
    _length("thumbnail_url", 0, URL_LENGTH),
    _key("voice_key"),
    _key("pitch_key"),
    _key("alignment_key"),
    _key("background_key"),
    Index("ix_tokens_view_count", "view_count", "id"),
    # The shuffled order: of no meaning, and the same for a token's life.
    Index("ix_tokens_shuffle", text("hashint4(id)"), "id"),
    Index("ix_tokens_category", "category", "id"),
    Index("ix_tokens_category_view_count", "category", "view_count", "id"),
    Index("ix_tokens_category_shuffle", "category", text("hashint4(id)"), "id"),
    Index("ix_tokens_duration", text("(end_time - start_time)"), "id"),
    # The natural key that imports know a token by, with source_url.
    Index("ix_tokens_name", "name", "start_time"),
    _trigrams("ix_tokens_search_key", "catalog.search_key(name)"),
    _trigrams("ix_tokens_initials_key", "catalog.initials_key(name)"),
)

token_actors = Table(
    "token_actors",
    metadata,
    Column("token_id", ForeignKey(tokens.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("actor_id", ForeignKey(actors.c.id), nullable=False),
    UniqueConstraint("token_id", "actor_id"),
    Index("ix_token_actors_actor_id", "actor_id", "token_id"),
)

scripts = Table(
    "scripts",
    metadata,
    _id(),
    Column("token_id", ForeignKey(tokens.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("translation", Text, nullable=False),
    Column("language_code", Text, nullable=False),
    Column("start_time", Double, nullable=False),
    Column("end_time", Double, nullable=False),
    _now("create_time"),
    _now("update_time"),
    _version(),
    CheckConstraint("start_time >= 0 AND end_time > start_time", name="span"),
    _length("text", 1, 2000),
    _composed("text"),
    _length("translation", 0, 2000),
    _length("language_code", 0, 35),
    _trigrams("ix_scripts_fold", "catalog.fold(text)"),
)

words = Table(
    "words",
    metadata,
    Column("script_id", ForeignKey(scripts.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("start_time", Double, nullable=False),
    Column("end_time", Double, nullable=False),
    Column("probability", Double),
    CheckConstraint("start_time >= 0 AND end_time >= start_time", name="span"),
    CheckConstraint("probability BETWEEN 0 AND 1", name="probability"),
    _length("text", 1, 200),
)

token_changes = Table(
    "token_changes",
    metadata,
    # Not a foreign key: it outlives its token.
    Column("token_id", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column(
        "transaction_id",
        TransactionId,
        nullable=False,
        server_default=func.pg_current_xact_id(),
    ),
    _now("change_time"),
    Index("ix_token_changes_transaction_id", "transaction_id", "token_id"),
    Index("ix_token_changes_deleted", "change_time", postgresql_where=literal_column("deleted")),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", Uuid, primary_key=True),
    # What was asked for, so that other content is told from a repeat.
    Column("fingerprint", LargeBinary, nullable=False),
    Column("resource_id", Integer),
    _now("create_time"),
    Index("ix_requests_create_time", "create_time"),
)

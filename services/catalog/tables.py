"""The tables of the `catalog` schema."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
)

metadata = MetaData(
    schema="catalog",
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)


def _id() -> Column[int]:
    return Column("id", Integer, Identity(always=True), primary_key=True)


def _create_time() -> Column[object]:
    return Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.now())


actors = Table(
    "actors",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _create_time(),
)

actor_aliases = Table(
    "actor_aliases",
    metadata,
    Column("actor_id", ForeignKey(actors.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("alias", Text, nullable=False),
    UniqueConstraint("actor_id", "alias"),
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
    _create_time(),
    CheckConstraint("start_time >= 0 AND end_time > start_time", name="span"),
)

token_actors = Table(
    "token_actors",
    metadata,
    Column("token_id", ForeignKey(tokens.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("actor_id", ForeignKey(actors.c.id), nullable=False, index=True),
    UniqueConstraint("token_id", "actor_id"),
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
    _create_time(),
    CheckConstraint("start_time >= 0 AND end_time > start_time", name="span"),
)

words = Table(
    "words",
    metadata,
    Column("script_id", ForeignKey(scripts.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("start_time", Double, nullable=False),
    Column("end_time", Double, nullable=False),
    CheckConstraint("start_time >= 0 AND end_time >= start_time", name="span"),
)

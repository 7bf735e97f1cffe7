"""Add versions, probabilities, token changes, request ids and constraints.

Every step is short however large the tables are: columns with constant defaults, constraints
that are not validated yet, and empty tables. Revision 0004 does the long work.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CHECKS = {
    "actors": {
        "name": "char_length(name) BETWEEN 1 AND 200",
        "name_nfc": "name IS NFC NORMALIZED",
    },
    "actor_aliases": {
        "alias": "char_length(alias) BETWEEN 1 AND 200",
        "alias_nfc": "alias IS NFC NORMALIZED",
    },
    "tokens": {
        "duration": "end_time - start_time <= 600",
        "view_count": "view_count >= 0",
        "revision": "revision >= 1",
        "name": "char_length(name) BETWEEN 1 AND 200",
        "name_nfc": "name IS NFC NORMALIZED",
        "category": "char_length(category) BETWEEN 0 AND 100",
        "source_url": "char_length(source_url) BETWEEN 0 AND 2000",
        "thumbnail_url": "char_length(thumbnail_url) BETWEEN 0 AND 2000",
    }
    | {
        key: f"{key} LIKE 'references/%' AND char_length({key}) <= 500"
        for key in ("voice_key", "pitch_key", "alignment_key", "background_key")
    },
    "scripts": {
        "text": "char_length(text) BETWEEN 1 AND 2000",
        "text_nfc": "text IS NFC NORMALIZED",
        "translation": "char_length(translation) BETWEEN 0 AND 2000",
        "language_code": "char_length(language_code) BETWEEN 0 AND 35",
    },
    "words": {
        "text": "char_length(text) BETWEEN 1 AND 200",
        "probability": "probability BETWEEN 0 AND 1",
    },
}

# The functions are PL/pgSQL with an explicit cost because PostgreSQL inlines SQL functions. The
# planner would then estimate their regular expressions to be as cheap as a comparison, and
# prefer a sequential scan to an index.

# Decomposes Hangul into letters, maps compatibility letters to the same letters, and removes
# accents: "beyonce" finds "Beyoncé", "수ㅈ" finds "수지".
FOLD = r"""
CREATE FUNCTION catalog.fold(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 300 AS $$
BEGIN
    RETURN regexp_replace(lower(normalize(value, NFKD)), '[\u0300-\u036f]+', '', 'g');
END
$$
"""

# Doubles each character, so that the trigrams of the key are the character pairs of the name.
# Pairs find two letters where trigrams need three, and they tolerate more typos.
SEARCH_KEY = r"""
CREATE FUNCTION catalog.search_key(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 300 AS $$
BEGIN
    RETURN regexp_replace(catalog.fold(value), '(.)', '\1\1', 'g');
END
$$
"""

# Keeps the leading consonants of Hangul and triples them, so that a single one has a trigram.
INITIALS_KEY = r"""
CREATE FUNCTION catalog.initials_key(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 300 AS $$
BEGIN
    RETURN regexp_replace(
        regexp_replace(normalize(value, NFKD), '[^\u1100-\u1112]+', '', 'g'),
        '(.)', '\1\1\1', 'g'
    );
END
$$
"""

NOTE_CHANGES = """
CREATE FUNCTION catalog.note_token_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO catalog.token_changes (token_id, revision, deleted)
        SELECT new_rows.id, new_rows.revision, false
        FROM new_rows JOIN old_rows ON new_rows.id = old_rows.id
        WHERE (new_rows.revision, new_rows.version) <> (old_rows.revision, old_rows.version)
        ORDER BY new_rows.id
        ON CONFLICT (token_id) DO UPDATE SET revision = excluded.revision, deleted = false,
            transaction_id = pg_current_xact_id(), change_time = now();
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO catalog.token_changes (token_id, revision, deleted)
        SELECT id, revision, false FROM new_rows AS created
        ON CONFLICT (token_id) DO UPDATE SET revision = excluded.revision, deleted = false,
            transaction_id = pg_current_xact_id(), change_time = now();
    ELSE
        INSERT INTO catalog.token_changes (token_id, revision, deleted)
        SELECT id, revision, true FROM old_rows ORDER BY id
        ON CONFLICT (token_id) DO UPDATE SET revision = excluded.revision, deleted = true,
            transaction_id = pg_current_xact_id(), change_time = now();
    END IF;
    IF FOUND THEN
        PERFORM pg_notify('catalog_token_changes', '');
    END IF;
    RETURN NULL;
END
$$
"""

TRIGGERS = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
}


def upgrade() -> None:
    """Migrate to this revision."""
    # While this waits for a lock, all later statements wait, too: fail early and retry.
    op.execute("SET LOCAL lock_timeout = '5s'")
    # The extension exists once per database and other schemas may use it: not in this schema.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public")
    for function in (FOLD, SEARCH_KEY, INITIALS_KEY, NOTE_CHANGES):
        op.execute(sa.text(function.replace(":", r"\:")))
    _add_columns()
    for table, checks in CHECKS.items():
        for name, condition in checks.items():
            op.execute(
                f"ALTER TABLE catalog.{table} ADD CONSTRAINT ck_{table}_{name}"
                f" CHECK ({condition}) NOT VALID"
            )
    _create_tables()
    for event, rows in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER note_{event} AFTER {event} ON catalog.tokens {rows}"
            " FOR EACH STATEMENT EXECUTE FUNCTION catalog.note_token_changes()"
        )


def _add_columns() -> None:
    for table in ("actors", "tokens", "scripts"):
        now = sa.text("now()")
        time = sa.Column(
            "update_time", sa.DateTime(timezone=True), server_default=now, nullable=False
        )
        version = sa.Column("version", sa.Integer(), server_default="1", nullable=False)
        op.add_column(table, time, schema="catalog")
        op.add_column(table, version, schema="catalog")
    thumbnail = sa.Column("thumbnail_url", sa.Text(), server_default="", nullable=False)
    op.add_column("tokens", thumbnail, schema="catalog")
    op.add_column("words", sa.Column("probability", sa.Double()), schema="catalog")


def _create_tables() -> None:
    op.execute(
        """
        CREATE TABLE catalog.token_changes (
            token_id integer NOT NULL,
            revision integer NOT NULL,
            deleted boolean NOT NULL,
            transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
            change_time timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_token_changes PRIMARY KEY (token_id)
        )
        """
    )
    op.execute(
        "CREATE INDEX ix_token_changes_transaction_id"
        " ON catalog.token_changes (transaction_id, token_id)"
    )
    op.execute(
        "CREATE INDEX ix_token_changes_deleted ON catalog.token_changes (change_time) WHERE deleted"
    )
    op.create_table(
        "requests",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("resource_id", sa.Integer()),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("request_id", name="pk_requests"),
        schema="catalog",
    )
    op.create_index("ix_requests_create_time", "requests", ["create_time"], schema="catalog")


def downgrade() -> None:
    """Migrate back to the previous revision. The extension stays: others may use it."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for event in TRIGGERS:
        op.execute(f"DROP TRIGGER note_{event} ON catalog.tokens")
    op.drop_table("requests", schema="catalog")
    op.drop_table("token_changes", schema="catalog")
    for table, checks in CHECKS.items():
        for name in checks:
            op.drop_constraint(f"ck_{table}_{name}", table, schema="catalog")
    op.drop_column("words", "probability", schema="catalog")
    op.drop_column("tokens", "thumbnail_url", schema="catalog")
    for table in ("actors", "tokens", "scripts"):
        op.drop_column(table, "version", schema="catalog")
        op.drop_column(table, "update_time", schema="catalog")
    for function in ("note_token_changes()", "initials_key", "search_key", "fold"):
        op.execute(f"DROP FUNCTION catalog.{function}")

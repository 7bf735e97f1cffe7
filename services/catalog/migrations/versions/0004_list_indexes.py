"""Build the indexes of lists and searches, validate constraints, and fill token_changes.

Each step commits on its own and blocks no writer: indexes are built concurrently, and
constraints are validated under a lock that allows writes. After a failure, run the migration
again: it starts over.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_actors_search_key": "actors USING gin (catalog.search_key(name) gin_trgm_ops)",
    "ix_actors_initials_key": "actors USING gin (catalog.initials_key(name) gin_trgm_ops)",
    "ix_actor_aliases_search_key": (
        "actor_aliases USING gin (catalog.search_key(alias) gin_trgm_ops)"
    ),
    "ix_actor_aliases_initials_key": (
        "actor_aliases USING gin (catalog.initials_key(alias) gin_trgm_ops)"
    ),
    "ix_tokens_view_count": "tokens (view_count, id)",
    "ix_tokens_shuffle": "tokens (hashint4(id), id)",
    "ix_tokens_category": "tokens (category, id)",
    "ix_tokens_category_view_count": "tokens (category, view_count, id)",
    "ix_tokens_category_shuffle": "tokens (category, hashint4(id), id)",
    "ix_tokens_duration": "tokens ((end_time - start_time), id)",
    "ix_tokens_name": "tokens (name, start_time)",
    "ix_tokens_search_key": "tokens USING gin (catalog.search_key(name) gin_trgm_ops)",
    "ix_tokens_initials_key": "tokens USING gin (catalog.initials_key(name) gin_trgm_ops)",
    "ix_scripts_fold": "scripts USING gin (catalog.fold(text) gin_trgm_ops)",
}
TOKENS_PER_STEP = 10_000
_RECORD_TOKENS = text(
    """
    INSERT INTO catalog.token_changes (token_id, revision, deleted)
    SELECT id, revision, false FROM catalog.tokens WHERE id > :first AND id <= :last
    ON CONFLICT (token_id) DO NOTHING
    """
)


def upgrade() -> None:
    """Migrate to this revision."""
    with op.get_context().autocommit_block():
        for table, constraint in _not_validated():
            op.execute(f"ALTER TABLE catalog.{table} VALIDATE CONSTRAINT {constraint}")
        for name, definition in INDEXES.items():
            _build(name, definition)
        _build("ix_token_actors_actor_id_new", "token_actors (actor_id, token_id)")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS catalog.ix_token_actors_actor_id")
        op.execute(
            "ALTER INDEX catalog.ix_token_actors_actor_id_new RENAME TO ix_token_actors_actor_id"
        )
        _record_existing_tokens()


def _not_validated() -> list[tuple[str, str]]:
    rows = op.get_bind().execute(
        text(
            "SELECT relname, conname FROM pg_constraint JOIN pg_class ON conrelid = pg_class.oid"
            " WHERE connamespace = 'catalog'::regnamespace AND NOT convalidated"
        )
    )
    return [(row.relname, row.conname) for row in rows]


def _build(name: str, definition: str) -> None:
    # An interrupted build leaves an invalid index.
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS catalog.{name}")
    op.execute(f"CREATE INDEX CONCURRENTLY {name} ON catalog.{definition}")


def _record_existing_tokens() -> None:
    last = op.get_bind().scalar(text("SELECT coalesce(max(id), 0) FROM catalog.tokens"))
    for first in range(0, last, TOKENS_PER_STEP):
        op.execute(_RECORD_TOKENS.bindparams(first=first, last=first + TOKENS_PER_STEP))


def downgrade() -> None:
    """Migrate back to the previous revision."""
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS catalog.{name}")
        _build("ix_token_actors_actor_id_old", "token_actors (actor_id)")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS catalog.ix_token_actors_actor_id")
        op.execute(
            "ALTER INDEX catalog.ix_token_actors_actor_id_old RENAME TO ix_token_actors_actor_id"
        )

"""owners of jobs, and the order in which queued jobs are claimed; smaller unique indexes.

Columns with constant defaults take a moment, however many rows the table holds. Indexes are
built concurrently. Partial indexes replace the two unique constraints: most rows have neither a
request id nor a retried job, and every change of a row writes all its index entries again.
Services of the former release continue; their jobs have no owner and are claimed first. After a
failure, run the migration again; it starts from the beginning.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COMPUTED = "state = 'completed' AND reused_job_id IS NULL"
OWNER_KEY = "coalesce(owner_id, '')"
INDEXES = {
    "ix_jobs_owner_id": "(owner_id, create_time, job_id) WHERE owner_id IS NOT NULL",
    "ix_jobs_owner_under_way": f"({OWNER_KEY}, turn) WHERE due_time IS NOT NULL",
    "ix_jobs_turn": "(turn, coalesce(due_time, 'infinity')) WHERE state = 'queued'",
    "ix_jobs_reusable": f"(sha256, token_id, token_revision, {OWNER_KEY}) WHERE {COMPUTED}",
}
UNIQUE = ("request_id", "retried_job_id")
OLD_INDEX = f"(sha256, token_id, token_revision) WHERE {COMPUTED}"


def upgrade() -> None:
    """Go forward."""
    # Fail and try again, rather than make all queries wait behind a waiting lock.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "ALTER TABLE analysis.jobs"
        " ADD COLUMN IF NOT EXISTS owner_id text,"
        " ADD COLUMN IF NOT EXISTS turn bigint NOT NULL DEFAULT 0"
    )
    op.execute("CREATE SEQUENCE IF NOT EXISTS analysis.turns")
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            _build(name, definition)
        for column in UNIQUE:
            definition = f"({column}) WHERE {column} IS NOT NULL"
            _build(f"ix_jobs_{column}", definition, unique=True)
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS analysis.ix_jobs_sha256")
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in UNIQUE:
        op.execute(f"ALTER TABLE analysis.jobs DROP CONSTRAINT IF EXISTS uq_jobs_{column}")


def _build(name: str, definition: str, *, unique: bool = False) -> None:
    # An interrupted build leaves an invalid index.
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS analysis.{name}")
    kind = "UNIQUE INDEX" if unique else "INDEX"
    op.execute(f"CREATE {kind} CONCURRENTLY {name} ON analysis.jobs {definition}")


def downgrade() -> None:
    """Go back; jobs lose their owners."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in UNIQUE:
        op.create_unique_constraint(f"uq_jobs_{column}", "jobs", [column], schema="analysis")
        op.drop_index(f"ix_jobs_{column}", "jobs", schema="analysis")
    for name in INDEXES:
        op.drop_index(name, "jobs", schema="analysis")
    for column in ("turn", "owner_id"):
        op.drop_column("jobs", column, schema="analysis")
    op.execute("DROP SEQUENCE analysis.turns")
    op.execute(f"CREATE INDEX ix_jobs_sha256 ON analysis.jobs {OLD_INDEX}")

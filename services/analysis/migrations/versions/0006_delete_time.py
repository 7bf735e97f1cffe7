"""the time at which a client deleted a job.

The column takes a moment, however many rows the table holds, and its index is built
concurrently. Services of the former release continue; they still show deleted jobs.
After a failure, run the migration again; it starts from the beginning.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEX = "ix_jobs_delete_time"


def upgrade() -> None:
    """Go forward."""
    # Fail and try again, rather than make all queries wait behind a waiting lock.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE analysis.jobs ADD COLUMN IF NOT EXISTS delete_time timestamptz")
    with op.get_context().autocommit_block():
        # An interrupted build leaves an invalid index.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS analysis.{INDEX}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON analysis.jobs (delete_time)"
            " WHERE delete_time IS NOT NULL"
        )


def downgrade() -> None:
    """Go back; jobs that are deleted but still stored appear again."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("jobs", "delete_time", schema="analysis")

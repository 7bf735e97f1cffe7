"""indexes of workers and lists; deadlines and ends of all jobs; their constraints.

No query waits for the long steps: indexes are built concurrently, end times are filled
in by batches, and constraints are validated under a lock that does not block writes.
Services of the former release can write until the constraints are exchanged, which
takes a moment. After a failure, run the migration again; it starts from the beginning.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OLD_CHECKS = {
    "state": "state IN ('opened', 'uploading', 'queued', 'dispatched', 'completed', 'failed')",
    "due": "(state IN ('completed', 'failed')) = (due_time IS NULL)",
    "failure": "(state = 'failed') = (failure_reason IS NOT NULL)",
}
NEW_CHECKS = {
    "state": "state IN ('opened', 'uploading', 'queued', 'dispatched',"
    " 'completed', 'failed', 'cancelled')",
    "due": "(state IN ('completed', 'failed', 'cancelled')) = (due_time IS NULL)",
    "end": "(due_time IS NULL) = (end_time IS NOT NULL)",
    "deadline": "(due_time IS NULL) = (deadline IS NULL)",
    "failure": "(state IN ('failed', 'cancelled')) = (failure_reason IS NOT NULL)",
}

OLD_INDEX = "(due_time) WHERE due_time IS NOT NULL"
COMPUTED = "state = 'completed' AND reused_job_id IS NULL"
INDEXES = {
    "ix_jobs_state_due_time": "(state, due_time) WHERE due_time IS NOT NULL",
    "ix_jobs_create_time": "(create_time, job_id)",
    "ix_jobs_token_id": "(token_id, create_time, job_id)",
    "ix_jobs_under_way": "(create_time, job_id) WHERE due_time IS NOT NULL",
    "ix_jobs_failed": "(create_time, job_id) WHERE state = 'failed'",
    "ix_jobs_cancelled": "(create_time, job_id) WHERE state = 'cancelled'",
    "ix_jobs_end_time": "(end_time) WHERE end_time IS NOT NULL",
    "ix_jobs_sha256": f"(sha256, token_id, token_revision) WHERE {COMPUTED}",
    "ix_jobs_computed": f"(end_time) WHERE {COMPUTED}",
}
UNIQUE = {"uq_jobs_request_id": "request_id", "uq_jobs_retried_job_id": "retried_job_id"}

JOBS_PER_STEP = 10_000
_FILL_ENDS = text(
    """
    WITH step AS (
        SELECT job_id FROM analysis.jobs WHERE job_id > :last ORDER BY job_id LIMIT :size
    ), filled AS (
        UPDATE analysis.jobs SET end_time = update_time, deadline = NULL FROM step
        WHERE jobs.job_id = step.job_id AND due_time IS NULL AND end_time IS NULL
    )
    SELECT job_id FROM step ORDER BY job_id DESC LIMIT 1
    """
)
_FILL_DEADLINES = """
UPDATE analysis.jobs SET
    tries = attempts,
    deadline = CASE state WHEN 'queued' THEN now() + interval '1 hour' ELSE due_time END
WHERE due_time IS NOT NULL AND deadline IS NULL
"""


def upgrade() -> None:
    """Go forward; jobs under way continue, with an hour for their dispatch."""
    made = _constraints()
    with op.get_context().autocommit_block():
        _fill_ends()
        for name, definition in INDEXES.items():
            _build(name, definition)
        for name in UNIQUE.keys() - made:
            _build(name, f"({UNIQUE[name]})", unique=True)
    _exchange_constraints(made)
    with op.get_context().autocommit_block():
        # Jobs that have ended since the first time.
        _fill_ends()
        for name in NEW_CHECKS:
            op.execute(f"ALTER TABLE analysis.jobs VALIDATE CONSTRAINT ck_jobs_{name}")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS analysis.ix_jobs_due_time")


def _constraints() -> set[str]:
    rows = op.get_bind().execute(
        text("SELECT conname FROM pg_constraint WHERE connamespace = 'analysis'::regnamespace")
    )
    return set(rows.scalars())


def _build(name: str, definition: str, *, unique: bool = False) -> None:
    # An interrupted build leaves an invalid index.
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS analysis.{name}")
    kind = "UNIQUE INDEX" if unique else "INDEX"
    op.execute(f"CREATE {kind} CONCURRENTLY {name} ON analysis.jobs {definition}")


def _fill_ends() -> None:
    last: Any = UUID(int=0)
    while last is not None:
        step = _FILL_ENDS.bindparams(last=last, size=JOBS_PER_STEP)
        last = op.get_bind().scalar(step)


def _exchange_constraints(made: set[str]) -> None:
    """Exchange all in one transaction: services of the former release write until then."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("LOCK TABLE analysis.jobs IN ACCESS EXCLUSIVE MODE")
    op.execute(_FILL_DEADLINES)
    for name, condition in NEW_CHECKS.items():
        op.execute(f"ALTER TABLE analysis.jobs DROP CONSTRAINT IF EXISTS ck_jobs_{name}")
        op.execute(
            f"ALTER TABLE analysis.jobs ADD CONSTRAINT ck_jobs_{name} CHECK ({condition}) NOT VALID"
        )
    for name in UNIQUE.keys() - made:
        op.execute(f"ALTER TABLE analysis.jobs ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")


def downgrade() -> None:
    """Go back; cancelled jobs become failed jobs."""
    for name in INDEXES:
        op.drop_index(name, "jobs", schema="analysis")
    for name in UNIQUE:
        op.drop_constraint(name, "jobs", schema="analysis")
    for name in NEW_CHECKS:
        op.execute(f"ALTER TABLE analysis.jobs DROP CONSTRAINT ck_jobs_{name}")
    op.execute("UPDATE analysis.jobs SET state = 'failed' WHERE state = 'cancelled'")
    for name, condition in OLD_CHECKS.items():
        op.execute(f"ALTER TABLE analysis.jobs ADD CONSTRAINT ck_jobs_{name} CHECK ({condition})")
    op.execute(f"CREATE INDEX ix_jobs_due_time ON analysis.jobs {OLD_INDEX}")

"""orchestration: deadlines, leases, attempts, reuse, retries, request ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "analysis"

NEW_COLUMNS = (
    sa.Column("request_id", sa.Text()),
    sa.Column("stage", sa.Text(), server_default="", nullable=False),
    sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
    sa.Column("silences", sa.Integer(), server_default="0", nullable=False),
    sa.Column("deadline", sa.DateTime(timezone=True)),
    sa.Column("lease_token", sa.Uuid()),
    sa.Column("worker", sa.Text(), server_default="", nullable=False),
    sa.Column("attempt_start_time", sa.DateTime(timezone=True)),
    sa.Column("status_url", sa.Text()),
    sa.Column("token_revision", sa.Integer(), server_default="0", nullable=False),
    sa.Column("analyzer_version", sa.Text(), server_default="", nullable=False),
    sa.Column("reused_job_id", sa.Uuid()),
    sa.Column("retried_job_id", sa.Uuid()),
    sa.Column("end_time", sa.DateTime(timezone=True)),
)

NEW_CHECKS = {
    "state": "state IN ('opened', 'uploading', 'queued', 'dispatched',"
    " 'completed', 'failed', 'cancelled')",
    "due": "(state IN ('completed', 'failed', 'cancelled')) = (due_time IS NULL)",
    "end": "(due_time IS NULL) = (end_time IS NOT NULL)",
    "deadline": "(due_time IS NULL) = (deadline IS NULL)",
    "failure": "(state IN ('failed', 'cancelled')) = (failure_reason IS NOT NULL)",
}

OLD_CHECKS = {
    "state": "state IN ('opened', 'uploading', 'queued', 'dispatched', 'completed', 'failed')",
    "due": "(state IN ('completed', 'failed')) = (due_time IS NULL)",
    "failure": "(state = 'failed') = (failure_reason IS NOT NULL)",
}

COMPUTED = "state = 'completed' AND reused_job_id IS NULL"
NEW_INDEXES: dict[str, tuple[list[str], str | None]] = {
    "ix_jobs_state_due_time": (["state", "due_time"], "due_time IS NOT NULL"),
    "ix_jobs_create_time": (["create_time", "job_id"], None),
    "ix_jobs_token_id": (["token_id", "create_time", "job_id"], None),
    "ix_jobs_under_way": (["create_time", "job_id"], "due_time IS NOT NULL"),
    "ix_jobs_failed": (["create_time", "job_id"], "state = 'failed'"),
    "ix_jobs_cancelled": (["create_time", "job_id"], "state = 'cancelled'"),
    "ix_jobs_end_time": (["end_time"], "end_time IS NOT NULL"),
    "ix_jobs_sha256": (["sha256", "token_id", "token_revision"], COMPUTED),
    "ix_jobs_computed": (["end_time"], COMPUTED),
}


def upgrade() -> None:
    """Go forward; jobs under way go on, with an hour for their dispatch."""
    for column in NEW_COLUMNS:
        op.add_column("jobs", column, schema=SCHEMA)
    op.execute(
        "UPDATE analysis.jobs SET end_time = update_time WHERE state IN ('completed', 'failed')"
    )
    op.execute(
        "UPDATE analysis.jobs SET tries = attempts, deadline = CASE state"
        " WHEN 'queued' THEN now() + interval '1 hour' ELSE due_time END"
        " WHERE due_time IS NOT NULL"
    )
    _replace_checks(OLD_CHECKS, NEW_CHECKS)
    op.create_unique_constraint("uq_jobs_request_id", "jobs", ["request_id"], schema=SCHEMA)
    op.create_unique_constraint("uq_jobs_retried_job_id", "jobs", ["retried_job_id"], schema=SCHEMA)
    op.drop_index("ix_jobs_due_time", "jobs", schema=SCHEMA)
    for name, (columns, condition) in NEW_INDEXES.items():
        where = None if condition is None else sa.text(condition)
        op.create_index(name, "jobs", columns, schema=SCHEMA, postgresql_where=where)
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "end_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(
            "outcome IN ('accepted', 'completed', 'refused', 'failed', 'lost', 'silent')",
            name="ck_attempts_outcome",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["analysis.jobs.job_id"], name="fk_attempts_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", "outcome", name="pk_attempts"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Go back; cancelled jobs become failed ones."""
    op.drop_table("attempts", schema=SCHEMA)
    for name in NEW_INDEXES:
        op.drop_index(name, "jobs", schema=SCHEMA)
    op.drop_constraint("uq_jobs_request_id", "jobs", schema=SCHEMA)
    op.drop_constraint("uq_jobs_retried_job_id", "jobs", schema=SCHEMA)
    for name in NEW_CHECKS:
        op.drop_constraint(op.f(f"ck_jobs_{name}"), "jobs", schema=SCHEMA)
    op.execute("UPDATE analysis.jobs SET state = 'failed' WHERE state = 'cancelled'")
    _replace_checks({}, OLD_CHECKS)
    for column in NEW_COLUMNS:
        op.drop_column("jobs", column.name, schema=SCHEMA)
    op.create_index(
        "ix_jobs_due_time",
        "jobs",
        ["due_time"],
        schema=SCHEMA,
        postgresql_where=sa.text("due_time IS NOT NULL"),
    )


def _replace_checks(old: dict[str, str], new: dict[str, str]) -> None:
    for name in old:
        op.drop_constraint(op.f(f"ck_jobs_{name}"), "jobs", schema=SCHEMA)
    for name, condition in new.items():
        op.create_check_constraint(op.f(f"ck_jobs_{name}"), "jobs", condition, schema=SCHEMA)

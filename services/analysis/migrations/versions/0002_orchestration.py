"""orchestration: columns for deadlines, leases, reuse, retries, request ids; attempts.

Every step takes a moment, however many rows the table holds: columns with constant
defaults, and an empty table. 0003 fills them; until it exchanges the constraints,
services of the former release can write.
"""

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


def upgrade() -> None:
    """Go forward."""
    # Fail and try again, rather than make all queries wait behind a waiting lock.
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in NEW_COLUMNS:
        op.add_column("jobs", column, schema=SCHEMA)
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
            name=op.f("ck_attempts_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["analysis.jobs.job_id"], name="fk_attempts_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", "outcome", name="pk_attempts"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Go back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("attempts", schema=SCHEMA)
    for column in NEW_COLUMNS:
        op.drop_column("jobs", column.name, schema=SCHEMA)

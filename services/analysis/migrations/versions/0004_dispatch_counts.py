"""names of the counts of dispatches; learner messages of failed uploads.

Both take a moment, however many rows the table holds: names, and a column with a
constant default. Services of the former release are refused from here on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "analysis"
NEW_NAMES = {"attempts": "dispatches", "tries": "counted_attempts"}


def upgrade() -> None:
    """Go forward."""
    # Fail and try again, rather than make all queries wait behind a waiting lock.
    op.execute("SET LOCAL lock_timeout = '5s'")
    for old, new in NEW_NAMES.items():
        _rename(old, new)
    op.add_column(
        "jobs",
        sa.Column("failure_messages", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Go back; the learner messages of failed uploads are lost."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("jobs", "failure_messages", schema=SCHEMA)
    for old, new in NEW_NAMES.items():
        _rename(new, old)


def _rename(old: str, new: str) -> None:
    op.alter_column("jobs", old, new_column_name=new, schema=SCHEMA)
    # Since PostgreSQL 18, NOT NULL is a constraint with a name.
    is_named = sa.text("SELECT 1 FROM pg_constraint WHERE conname = :name")
    if op.get_bind().scalar(is_named, {"name": f"jobs_{old}_not_null"}):
        op.execute(
            f"ALTER TABLE {SCHEMA}.jobs"
            f" RENAME CONSTRAINT jobs_{old}_not_null TO jobs_{new}_not_null"
        )

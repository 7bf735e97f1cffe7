"""upload states: `stored` replaces the column `whole`; concatenations have a column.

The services of a release before 0.2.0 do not run on this schema: stop them first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "upload"
CHANGED_CHECKS = ("kind", "state", "end")
KEPT_CHECKS = ("job", "failure", "size")
# 0001 named the checks by the naming convention and by hand, so the prefix stands twice.
OLD_PREFIX, PREFIX = "ck_uploads_ck_uploads_", "ck_uploads_"


def upgrade() -> None:
    """Go forward."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    _drop_checks(OLD_PREFIX)
    _rename_kept_checks(OLD_PREFIX, PREFIX)
    op.alter_column("uploads", "concat", new_column_name="client_concat", schema=SCHEMA)
    op.add_column(
        "uploads",
        sa.Column("is_concatenation", sa.Boolean(), server_default="false", nullable=False),
        schema=SCHEMA,
    )
    op.execute(
        "UPDATE upload.uploads SET is_concatenation = true WHERE client_concat LIKE 'final;%'"
    )
    op.execute("UPDATE upload.uploads SET kind = 'partial' WHERE kind = 'piece'")
    # With `ends_at_size`, `whole` was also set while bytes were only in tail objects. The reaper
    # recognises these uploads by their size, and completes them.
    op.execute(
        "UPDATE upload.uploads SET state = 'stored'"
        " WHERE state = 'receiving' AND whole AND (tail = '[]' OR NOT ends_at_size)"
    )
    op.drop_column("uploads", "whole", schema=SCHEMA)
    _create_checks(
        PREFIX,
        "kind IN ('recording', 'partial', 'asset')",
        "state IN ('receiving', 'stored', 'completed', 'failed', 'cancelled', 'expired')",
        "(state IN ('receiving', 'stored')) = (end_time IS NULL)",
    )


def downgrade() -> None:
    """Go back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    _drop_checks(PREFIX)
    _rename_kept_checks(PREFIX, OLD_PREFIX)
    op.add_column(
        "uploads",
        sa.Column("whole", sa.Boolean(), server_default="false", nullable=False),
        schema=SCHEMA,
    )
    op.execute("UPDATE upload.uploads SET whole = true, state = 'receiving' WHERE state = 'stored'")
    op.execute("UPDATE upload.uploads SET kind = 'piece' WHERE kind = 'partial'")
    op.drop_column("uploads", "is_concatenation", schema=SCHEMA)
    op.alter_column("uploads", "client_concat", new_column_name="concat", schema=SCHEMA)
    _create_checks(
        OLD_PREFIX,
        "kind IN ('recording', 'piece', 'asset')",
        "state IN ('receiving', 'completed', 'failed', 'cancelled', 'expired')",
        "(state = 'receiving') = (end_time IS NULL)",
    )


def _drop_checks(prefix: str) -> None:
    for name in CHANGED_CHECKS:
        op.drop_constraint(op.f(f"{prefix}{name}"), "uploads", schema=SCHEMA)


def _rename_kept_checks(old_prefix: str, new_prefix: str) -> None:
    for name in KEPT_CHECKS:
        op.execute(
            f"ALTER TABLE upload.uploads RENAME CONSTRAINT {old_prefix}{name} TO {new_prefix}{name}"
        )


def _create_checks(prefix: str, *conditions: str) -> None:
    for name, condition in zip(CHANGED_CHECKS, conditions, strict=True):
        op.create_check_constraint(op.f(f"{prefix}{name}"), "uploads", condition, schema=SCHEMA)

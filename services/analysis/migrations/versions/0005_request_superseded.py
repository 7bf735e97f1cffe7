"""the failure reason of superseded requests: UPLOAD_SUPERSEDED becomes REQUEST_SUPERSEDED.

Locks only the rows that it changes, which it finds by the index of failed jobs.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OLD, NEW = "UPLOAD_SUPERSEDED", "REQUEST_SUPERSEDED"


def upgrade() -> None:
    """Go forward."""
    _rename(OLD, NEW)


def downgrade() -> None:
    """Go back."""
    _rename(NEW, OLD)


def _rename(old: str, new: str) -> None:
    op.execute(
        f"UPDATE analysis.jobs SET failure_reason = '{new}'"  # noqa: S608 (constants)
        f" WHERE state = 'failed' AND failure_reason = '{old}'"
    )

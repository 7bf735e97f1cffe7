"""Add the revision of tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this revision."""
    op.add_column(
        "tokens",
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        schema="catalog",
    )


def downgrade() -> None:
    """Migrate back to the previous revision."""
    op.drop_column("tokens", "revision", schema="catalog")

"""revision of tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column(
        "tokens",
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        schema="catalog",
    )


def downgrade() -> None:
    """Go back."""
    op.drop_column("tokens", "revision", schema="catalog")

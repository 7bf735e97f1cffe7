"""limits per client: uploads name their client, and the bytes of each client are counted.

Rows of an older release have no client, so they count for nobody.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "upload"


def upgrade() -> None:
    """Go forward."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "uploads",
        sa.Column("client", sa.Text(), server_default="", nullable=False),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_uploads_open_client",
        "uploads",
        ["client"],
        schema=SCHEMA,
        postgresql_where=sa.text("end_time IS NULL"),
    )
    op.create_table(
        "client_bytes",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "client", name="pk_client_bytes"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Go back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("client_bytes", schema=SCHEMA)
    op.drop_index("ix_uploads_open_client", "uploads", schema=SCHEMA)
    op.drop_column("uploads", "client", schema=SCHEMA)

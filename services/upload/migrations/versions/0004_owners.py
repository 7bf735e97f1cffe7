"""owners: uploads name the account or the guest that owns them.

The column takes a moment, however many rows the table holds, and its index is built
concurrently. Services of the former release continue; their uploads have no owner.
After a failure, run the migration again; it starts from the beginning.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEX = "ix_uploads_owner_id"


def upgrade() -> None:
    """Go forward."""
    # Fail and try again, rather than make all queries wait behind a waiting lock.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE upload.uploads ADD COLUMN IF NOT EXISTS owner_id text")
    with op.get_context().autocommit_block():
        # An interrupted build leaves an invalid index.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS upload.{INDEX}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON upload.uploads (owner_id)"
            " WHERE owner_id IS NOT NULL"
        )


def downgrade() -> None:
    """Go back; uploads lose their owners."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("uploads", "owner_id", schema="upload")

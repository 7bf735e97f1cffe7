"""Resumable uploads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="receiving", nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("token_revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("job_id", sa.Uuid()),
        sa.Column("asset_kind", sa.Text(), server_default="", nullable=False),
        sa.Column("file_name", sa.Text(), server_default="", nullable=False),
        sa.Column("client_metadata", sa.Text(), server_default="", nullable=False),
        sa.Column("concat", sa.Text(), server_default="", nullable=False),
        sa.Column("request_id", sa.Text()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("sha256", sa.LargeBinary()),
        sa.Column("ends_at_size", sa.Boolean(), nullable=False),
        sa.Column("resumable", sa.Boolean(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("part_bytes", sa.Integer(), nullable=False),
        sa.Column("s3_upload_id", sa.Text()),
        sa.Column("next_part", sa.Integer(), server_default="1", nullable=False),
        sa.Column("writer", sa.Uuid()),
        sa.Column("writers", sa.Integer(), server_default="0", nullable=False),
        sa.Column("committed_size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hash_state", sa.LargeBinary()),
        sa.Column("content_type", sa.Text()),
        sa.Column("tail", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("whole", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("failure_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("lifetime", sa.Interval(), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("end_time", sa.DateTime(timezone=True)),
        sa.CheckConstraint("kind IN ('recording', 'piece', 'asset')", name="ck_uploads_kind"),
        sa.CheckConstraint(
            "state IN ('receiving', 'completed', 'failed', 'cancelled', 'expired')",
            name="ck_uploads_state",
        ),
        sa.CheckConstraint("(kind = 'recording') = (job_id IS NOT NULL)", name="ck_uploads_job"),
        sa.CheckConstraint("(state = 'receiving') = (end_time IS NULL)", name="ck_uploads_end"),
        sa.CheckConstraint(
            "(state = 'failed') = (failure_reason <> '')", name="ck_uploads_failure"
        ),
        sa.CheckConstraint(
            "committed_size <= coalesce(size, committed_size)", name="ck_uploads_size"
        ),
        sa.PrimaryKeyConstraint("upload_id", name="pk_uploads"),
        sa.UniqueConstraint("request_id", name="uq_uploads_request_id"),
        schema="upload",
    )
    op.create_index("ix_uploads_due_time", "uploads", ["due_time"], schema="upload")
    op.create_table(
        "parts",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["upload.uploads.upload_id"],
            name="fk_parts_upload_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("upload_id", "number", name="pk_parts"),
        schema="upload",
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("parts", schema="upload")
    op.drop_table("uploads", schema="upload")

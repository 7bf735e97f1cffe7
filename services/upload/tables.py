"""The tables of the `upload` schema."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Interval,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.runtime.tables import metadata_of

metadata = metadata_of("upload")

# A row is inserted before S3 has anything of its upload, and deleted after S3 has been swept,
# so that every object can be found.
# `writer` names the session that may write; a newer one replaces it. `writers` counts the
# sessions: with more than one, S3 may have objects that the row does not name.
# `due_time` is when the reaper next handles the row: to complete, expire or sweep it.
# `next_part` numbers the parts. No number is used twice, so that a late request to S3 cannot
# replace a saved part.
# `client` is the key of limits per client, such as an address.
# `owner_id` is the account or the guest that owns the upload, and of a picture the account that
# gets it; null if neither.
# `tail` lists the objects that hold the bytes after the last part: [{key, size, crc}].
uploads = Table(
    "uploads",
    metadata,
    Column("upload_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="receiving"),
    Column("token_id", Integer, nullable=False),
    Column("token_revision", Integer, nullable=False, server_default="0"),
    Column("job_id", Uuid),
    Column("asset_kind", Text, nullable=False, server_default=""),
    Column("file_name", Text, nullable=False, server_default=""),
    Column("client_metadata", Text, nullable=False, server_default=""),
    Column("client_concat", Text, nullable=False, server_default=""),
    Column("is_concatenation", Boolean, nullable=False, server_default="false"),
    Column("request_id", Text, unique=True),
    Column("client", Text, nullable=False, server_default=""),
    Column("owner_id", Text),
    Column("size", BigInteger),
    Column("sha256", LargeBinary),
    Column("ends_at_size", Boolean, nullable=False),
    Column("resumable", Boolean, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("part_bytes", Integer, nullable=False),
    Column("s3_upload_id", Text),
    Column("next_part", Integer, nullable=False, server_default="1"),
    Column("writer", Uuid),
    Column("writers", Integer, nullable=False, server_default="0"),
    Column("committed_size", BigInteger, nullable=False, server_default="0"),
    Column("hash_state", LargeBinary),
    Column("content_type", Text),
    Column("tail", JSONB, nullable=False, server_default="[]"),
    Column("failure_reason", Text, nullable=False, server_default=""),
    Column("lifetime", Interval, nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=False),
    Column("due_time", DateTime(timezone=True), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("end_time", DateTime(timezone=True)),
    CheckConstraint("kind IN ('recording', 'partial', 'asset', 'picture')", name="kind"),
    CheckConstraint(
        "state IN ('receiving', 'stored', 'completed', 'failed', 'cancelled', 'expired')",
        name="state",
    ),
    CheckConstraint("(kind = 'recording') = (job_id IS NOT NULL)", name="job"),
    CheckConstraint("(state IN ('receiving', 'stored')) = (end_time IS NULL)", name="end"),
    CheckConstraint("(state = 'failed') = (failure_reason <> '')", name="failure"),
    CheckConstraint("committed_size <= coalesce(size, committed_size)", name="size"),
    Index("ix_uploads_due_time", "due_time"),
    Index("ix_uploads_open_client", "client", postgresql_where=text("end_time IS NULL")),
    Index("ix_uploads_owner_id", "owner_id", postgresql_where=text("owner_id IS NOT NULL")),
)

parts = Table(
    "parts",
    metadata,
    Column("upload_id", ForeignKey(uploads.c.upload_id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("checksum", Text, nullable=False),
)

# What each client sent on a day (UTC). Rows of earlier days are deleted.
client_bytes = Table(
    "client_bytes",
    metadata,
    Column("day", Date, primary_key=True),
    Column("client", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)

"""The tables of the `analysis` schema."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)

metadata = MetaData(
    schema="analysis",
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)

# The row is the work item. `due_time` is when the job next needs attention: to be
# dispatched, to be dispatched again because a worker died, or to time out. It is
# NULL once the job has ended.
jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("token_id", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress", SmallInteger, nullable=False),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_time", DateTime(timezone=True)),
    Column("object_key", Text),
    Column("size", BigInteger),
    Column("content_type", Text),
    Column("sha256", LargeBinary),
    Column("file_name", Text),
    Column("result", LargeBinary),
    Column("failure_reason", Text),
    Column("failure_message", Text, nullable=False, server_default=""),
    Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("update_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint(
        "state IN ('opened', 'uploading', 'queued', 'dispatched', 'completed', 'failed')",
        name="state",
    ),
    CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
    CheckConstraint("(state IN ('completed', 'failed')) = (due_time IS NULL)", name="due"),
    CheckConstraint("(state = 'completed') = (result IS NOT NULL)", name="result"),
    CheckConstraint("(state = 'failed') = (failure_reason IS NOT NULL)", name="failure"),
    CheckConstraint(
        "state NOT IN ('queued', 'dispatched', 'completed') OR object_key IS NOT NULL",
        name="recording",
    ),
    Index("ix_jobs_due_time", "due_time", postgresql_where=text("due_time IS NOT NULL")),
)

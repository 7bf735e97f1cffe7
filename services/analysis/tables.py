"""The tables of the `analysis` schema."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.runtime.tables import metadata_of

metadata = metadata_of("analysis")

# Jobs without an owner share one key, so that one comparison finds them in an index.
_OWNER_KEY = "coalesce(owner_id, '')"
_READY_TIME = "coalesce(due_time, 'infinity')"

# The row is the work item. `due_time` is when the job next needs a worker: at its next
# dispatch, the end of its lease, the next look at its status, or its deadline; NULL once
# the job has ended. `deadline` limits the time in the current state. `dispatches` counts
# and numbers the dispatches; `counted_attempts` counts those that the analysis server
# may have seen, `silences` those that it accepted and never reported. `failure_message`
# is the sentence for the learner from the analysis server, `failure_messages` are those
# from the upload service, by language. `delete_time` is when a client deleted the job:
# reads no longer find it, and the reaper soon deletes the recording and the row. `owner_id` is
# the account or the guest that owns the job; NULL for callers without an identity, and
# for jobs from before accounts. `turn` orders the claims of queued jobs (`store/turns.py`).
# `request_id` contains the account to which it belongs (`store/request_ids.py`).
jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("token_id", Integer, nullable=False),
    Column("owner_id", Text),
    Column("request_id", Text),
    Column("state", Text, nullable=False),
    Column("progress", SmallInteger, nullable=False),
    Column("stage", Text, nullable=False, server_default=""),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("dispatches", Integer, nullable=False, server_default="0"),
    Column("counted_attempts", Integer, nullable=False, server_default="0"),
    Column("silences", Integer, nullable=False, server_default="0"),
    Column("due_time", DateTime(timezone=True)),
    Column("turn", BigInteger, nullable=False, server_default=text("0")),
    Column("deadline", DateTime(timezone=True)),
    Column("lease_token", Uuid),
    Column("worker", Text, nullable=False, server_default=""),
    Column("attempt_start_time", DateTime(timezone=True)),
    Column("status_url", Text),
    Column("object_key", Text),
    Column("size", BigInteger),
    Column("content_type", Text),
    Column("sha256", LargeBinary),
    Column("file_name", Text),
    Column("token_revision", Integer, nullable=False, server_default="0"),
    Column("result", LargeBinary),
    Column("analyzer_version", Text, nullable=False, server_default=""),
    Column("reused_job_id", Uuid),
    Column("retried_job_id", Uuid),
    Column("failure_reason", Text),
    Column("failure_message", Text, nullable=False, server_default=""),
    Column("failure_messages", JSONB, nullable=False, server_default=text("'{}'")),
    Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("update_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("end_time", DateTime(timezone=True)),
    Column("delete_time", DateTime(timezone=True)),
    CheckConstraint(
        "state IN ('opened', 'uploading', 'queued', 'dispatched',"
        " 'completed', 'failed', 'cancelled')",
        name="state",
    ),
    CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
    CheckConstraint(
        "(state IN ('completed', 'failed', 'cancelled')) = (due_time IS NULL)", name="due"
    ),
    CheckConstraint("(due_time IS NULL) = (end_time IS NOT NULL)", name="end"),
    CheckConstraint("(due_time IS NULL) = (deadline IS NULL)", name="deadline"),
    CheckConstraint("(state = 'completed') = (result IS NOT NULL)", name="result"),
    CheckConstraint(
        "(state IN ('failed', 'cancelled')) = (failure_reason IS NOT NULL)", name="failure"
    ),
    CheckConstraint(
        "state NOT IN ('queued', 'dispatched', 'completed') OR object_key IS NOT NULL",
        name="recording",
    ),
    # Each name of a request, and each retried job, belongs to one job. Most jobs have neither.
    Index(
        "ix_jobs_request_id",
        "request_id",
        unique=True,
        postgresql_where=text("request_id IS NOT NULL"),
    ),
    Index(
        "ix_jobs_retried_job_id",
        "retried_job_id",
        unique=True,
        postgresql_where=text("retried_job_id IS NOT NULL"),
    ),
    # Due jobs. It has only jobs that have not ended, so claims cost the same with a long history.
    Index(
        "ix_jobs_state_due_time",
        "state",
        "due_time",
        postgresql_where=text("due_time IS NOT NULL"),
    ),
    # Queued jobs in the order of their claims. Other indexes serve no condition on the expression:
    # by outdated statistics, PostgreSQL would sort all due jobs for each claim.
    Index("ix_jobs_turn", "turn", text(_READY_TIME), postgresql_where=text("state = 'queued'")),
    # The jobs of an owner under way: how many there are, and the last turn of them.
    Index(
        "ix_jobs_owner_under_way",
        text(_OWNER_KEY),
        "turn",
        postgresql_where=text("due_time IS NOT NULL"),
    ),
    # Lists, newest first: all jobs, those of a token, of an owner, under way, failed, cancelled.
    Index("ix_jobs_create_time", "create_time", "job_id"),
    Index("ix_jobs_token_id", "token_id", "create_time", "job_id"),
    Index(
        "ix_jobs_owner_id",
        "owner_id",
        "create_time",
        "job_id",
        postgresql_where=text("owner_id IS NOT NULL"),
    ),
    Index(
        "ix_jobs_under_way",
        "create_time",
        "job_id",
        postgresql_where=text("due_time IS NOT NULL"),
    ),
    Index(
        "ix_jobs_failed",
        "create_time",
        "job_id",
        postgresql_where=text("state = 'failed'"),
    ),
    Index(
        "ix_jobs_cancelled",
        "create_time",
        "job_id",
        postgresql_where=text("state = 'cancelled'"),
    ),
    # Expired jobs.
    Index("ix_jobs_end_time", "end_time", postgresql_where=text("end_time IS NOT NULL")),
    # Deleted jobs.
    Index("ix_jobs_delete_time", "delete_time", postgresql_where=text("delete_time IS NOT NULL")),
    # Results that their owners can reuse, and the analyzer version of the newest.
    Index(
        "ix_jobs_reusable",
        "sha256",
        "token_id",
        "token_revision",
        text(_OWNER_KEY),
        postgresql_where=text("state = 'completed' AND reused_job_id IS NULL"),
    ),
    Index(
        "ix_jobs_computed",
        "end_time",
        postgresql_where=text("state = 'completed' AND reused_job_id IS NULL"),
    ),
)

# The history of dispatches: rows are added, never changed, and deleted with their job.
attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ForeignKey(jobs.c.job_id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("start_time", DateTime(timezone=True), nullable=False),
    Column("end_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("worker", Text, nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    CheckConstraint(
        "outcome IN ('accepted', 'completed', 'refused', 'failed', 'lost', 'silent')",
        name="outcome",
    ),
)

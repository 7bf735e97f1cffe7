"""Submissions: jobs that are created with their recording, in one statement and one commit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Float, Interval, Uuid, bindparam, delete, exists, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.jobs import Recording, State
from services.analysis.store.quotas import has_room, require_room
from services.analysis.store.request_ids import (
    NamedJob,
    job_named,
    stored_request_id,
    supersede,
)
from services.analysis.store.reuse import (
    Reuse,
    donor_of,
    is_readable,
    queued_or_completed,
    reuse_parameters,
)
from services.analysis.store.rows import RECORDING_COLUMNS
from services.analysis.store.transitions import OnTransition, Transition
from services.analysis.store.turns import next_turn
from services.analysis.tables import jobs
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.errors import DatabaseUnavailable
from services.runtime.ids import unix_seconds_of
from services.runtime.shared_errors import JobEnded, RequestIdReused
from services.runtime.statements import Statement

SUBMISSION_WINDOW = timedelta(hours=1)
"""How long after its generation the id of a job can be submitted.

After that, a recording without a job was abandoned and can be deleted.
"""


@dataclass(frozen=True)
class Submission:
    """A job to create with its recording.

    job_id: a UUIDv7. token_revision: the revision of the token that was recorded; 0,
    unknown, prevents reuse. request_id, owner_id: as in `JobStore.create`.
    """

    job_id: UUID
    token_id: int
    recording: Recording
    token_revision: int = 0
    request_id: str | None = None
    owner_id: str | None = None


@retried_on_schema_change
class Submissions:
    """Creates jobs with their recordings."""

    def __init__(
        self, database: Database, on_transition: OnTransition, max_jobs_per_owner: int
    ) -> None:
        self._database = database
        self._on_transition = on_transition
        self._max_jobs = max_jobs_per_owner

    async def submit(
        self, submission: Submission, timeout: timedelta, reuse: Reuse | None
    ) -> UUID | None:
        """Create a job that is due now, or that is completed by reuse.

        timeout, reuse: as in `JobStore.attach_recording`. Returns the id of the job that
        has the recording: the submitted id, or that of the job of an earlier request with
        the same request id and the same recording; None, and nothing changes, when a job
        with the submitted id exists.
        Errors: JobEnded when the id was generated before the SUBMISSION_WINDOW;
        RequestIdReused when the request id belongs to another token or recording; TooManyJobs.
        """
        values = _values_of(submission, timeout, reuse) | {"most_jobs": self._max_jobs}
        async with self._database.connection() as connection:
            row = await _INSERTION.row(connection, **values)
        if row is None:
            return await self._resolve_conflict(submission, values)
        if not is_readable(row["result"]):
            return await self._submit_without_reuse(submission, timeout)
        self._on_transition(submission.job_id, State(row["state"]))
        return submission.job_id

    async def _submit_without_reuse(
        self, submission: Submission, timeout: timedelta
    ) -> UUID | None:
        """Create a job without reuse, because no client could read the result that it reused."""
        async with self._database.connection() as connection:
            await _DELETION.row(connection, job_id=submission.job_id)
        return await self.submit(submission, timeout, reuse=None)

    async def _resolve_conflict(
        self, submission: Submission, values: dict[str, Any]
    ) -> UUID | None:
        """Find the reason why nothing was inserted; insert if another job has the request id."""
        # A concurrent call may insert its job first; the second iteration finds it.
        for _ in range(2):
            superseded: tuple[UUID, Transition] | None = None
            async with self._database.transaction() as connection:
                if await _is_stored(connection, submission.job_id):
                    return None
                named = await job_named(connection, values["request_id"])
                if named is not None:
                    if earlier := _earlier_job(named, submission):
                        return earlier
                    superseded = named.job_id, await supersede(connection, named.job_id)
                await require_room(connection, submission.owner_id, self._max_jobs)
                # Without reuse, which is rare here, for simplicity.
                state = await connection.scalar(_INSERT, values | reuse_parameters(None, 0))
            if superseded is not None and superseded[1].after is not None:
                self._on_transition(superseded[0], superseded[1].after)
            if state is not None:
                self._on_transition(submission.job_id, State(state))
                return submission.job_id
        raise DatabaseUnavailable


async def _is_stored(connection: AsyncConnection, job_id: UUID) -> bool:
    """Whether a job exists. Errors: JobEnded when it does not, and its id is too old."""
    statement = select(exists().where(jobs.c.job_id == job_id), ~_is_young)
    seconds = {"generated": unix_seconds_of(job_id)}
    is_stored, is_too_old = (await connection.execute(statement, seconds)).one()
    if is_too_old and not is_stored:
        raise JobEnded(job_id=job_id)
    return bool(is_stored)


def _earlier_job(named: NamedJob, submission: Submission) -> UUID | None:
    """The job of an earlier request with the same recording; None when a new job replaces it.

    Errors: RequestIdReused.
    """
    if not named.is_recent:
        return None
    if named.token_id != submission.token_id:
        raise RequestIdReused
    if named.sha256 is None:
        # Its upload is under way, or has failed.
        return None
    if named.sha256 != submission.recording.sha256:
        raise RequestIdReused
    return named.job_id


def _values_of(submission: Submission, timeout: timedelta, reuse: Reuse | None) -> dict[str, Any]:
    """The parameters of the insertion."""
    return {
        **asdict(submission.recording),
        "job_id": submission.job_id,
        "token_id": submission.token_id,
        "token_revision": submission.token_revision,
        "owner_id": submission.owner_id,
        "request_id": stored_request_id(submission.request_id, submission.owner_id),
        "timeout": timeout,
        "generated": unix_seconds_of(submission.job_id),
        **reuse_parameters(reuse, submission.token_revision),
    }


# PostgreSQL's clock decides, as for every other time limit of jobs.
_is_young = func.to_timestamp(bindparam("generated", type_=Float)) > func.now() - SUBMISSION_WINDOW


def _insert_with_recording() -> Any:
    """The statement that inserts a job with its recording; returns its state and result.

    It inserts nothing when the id is too old, when another job has it or the request id, or
    when the owner has as many jobs under way as it may have.
    """
    given = (
        *(jobs.c.job_id, jobs.c.token_id, jobs.c.owner_id, jobs.c.request_id),
        jobs.c.token_revision,
        *RECORDING_COLUMNS,
    )
    parameters = {column.name: bindparam(column.name, type_=column.type) for column in given}
    owner_id = parameters["owner_id"]
    donor = donor_of(parameters["sha256"], parameters["token_id"], owner_id)
    outcome = queued_or_completed(donor, bindparam("timeout", type_=Interval))
    values = {**parameters, **outcome, "turn": next_turn(owner_id)}
    columns = (value.label(name) for name, value in values.items())
    source = select(*columns).where(_is_young, has_room(owner_id))
    insertion = postgresql.insert(jobs).from_select(list(values), source)
    return insertion.on_conflict_do_nothing().returning(jobs.c.state, jobs.c.result)


_INSERT = _insert_with_recording()
_INSERTION = Statement(_INSERT)
_DELETION = Statement(
    delete(jobs)
    .where(jobs.c.job_id == bindparam("job_id", type_=Uuid), jobs.c.reused_job_id.is_not(None))
    .returning(jobs.c.job_id)
)

"""Submissions: jobs that are created with their recording, in one statement and one commit.

If the process also works on jobs and no other job waits, the job is created with its claim:
no claim statement follows, and no worker is woken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.jobs import Claim, Recording, State
from services.analysis.store.quotas import require_room
from services.analysis.store.request_ids import (
    NamedJob,
    job_named,
    stored_request_id,
    supersede,
)
from services.analysis.store.reuse import (
    Reuse,
    is_readable,
    reuse_parameters,
)
from services.analysis.store.submission_statements import (
    DELETION_OF_REUSED,
    INSERT,
    INSERTION,
    is_young,
)
from services.analysis.store.transitions import OnTransition, Transition
from services.analysis.tables import jobs
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.errors import DatabaseUnavailable
from services.runtime.ids import unix_seconds_of
from services.runtime.shared_errors import JobEnded, RequestIdReused


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


@dataclass(frozen=True)
class Claimant:
    """A worker with room for the submitted job.

    worker: host:pid. lease: how long the claim holds. start: called after the commit if the job
    was created with a claim.
    """

    worker: str
    lease: timedelta
    start: Callable[[Claim], None]


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
        self,
        submission: Submission,
        timeout: timedelta,
        reuse: Reuse | None,
        claimant: Claimant | None,
    ) -> UUID | None:
        """Create a job that is due now, that the claimant has, or that is completed by reuse.

        timeout, reuse, claimant: as in `JobStore.submit`. Returns the id of the job that
        has the recording: the submitted id, or that of the job of an earlier request with
        the same request id and the same recording; None, and nothing changes, when a job
        with the submitted id exists.
        Errors: JobEnded when the id was generated before the SUBMISSION_WINDOW;
        RequestIdReused when the request id belongs to another token or recording; TooManyJobs.
        """
        values = _values_of(submission, timeout, reuse) | _claim_parameters(claimant)
        values["most_jobs"] = self._max_jobs
        async with self._database.connection() as connection:
            row = await INSERTION.row(connection, **values)
        if row is None:
            return await self._resolve_conflict(submission, values)
        if not is_readable(row["result"]):
            return await self._submit_without_reuse(submission, timeout, claimant)
        if claimant is None or row["lease_token"] is None:
            self._on_transition(submission.job_id, State(row["state"]))
        else:
            claimant.start(_claim_of(submission, row["lease_token"]))
            # Its dispatch is under way: a job that is queued would wake all workers.
            self._on_transition(submission.job_id, State.DISPATCHED)
        return submission.job_id

    async def _submit_without_reuse(
        self, submission: Submission, timeout: timedelta, claimant: Claimant | None
    ) -> UUID | None:
        """Create a job without reuse, because no client could read the result that it reused."""
        async with self._database.connection() as connection:
            await DELETION_OF_REUSED.row(connection, job_id=submission.job_id)
        return await self.submit(submission, timeout, None, claimant)

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
                # Without reuse and claim, which are rare here, for simplicity.
                due = values | reuse_parameters(None, 0) | _claim_parameters(None)
                state = await connection.scalar(INSERT, due)
            if superseded is not None and superseded[1].after is not None:
                self._on_transition(superseded[0], superseded[1].after)
            if state is not None:
                self._on_transition(submission.job_id, State(state))
                return submission.job_id
        raise DatabaseUnavailable


async def _is_stored(connection: AsyncConnection, job_id: UUID) -> bool:
    """Whether a job exists. Errors: JobEnded when it does not, and its id is too old."""
    statement = select(exists().where(jobs.c.job_id == job_id), ~is_young)
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


def _claim_parameters(claimant: Claimant | None) -> dict[str, object]:
    """The parameters of the claim with which the job is created; None for no claim."""
    if claimant is None:
        return {"claiming_worker": None, "lease": None}
    return {"claiming_worker": claimant.worker, "lease": claimant.lease}


def _claim_of(submission: Submission, lease_token: UUID) -> Claim:
    return Claim(
        job_id=submission.job_id,
        token_id=submission.token_id,
        state=State.QUEUED,
        object_key=submission.recording.object_key,
        lease_token=lease_token,
        dispatches=1,
        counted_attempts=1,
        silences=0,
        deadline_passed=False,
        status_url=None,
        token_revision=submission.token_revision,
    )

"""Jobs as uploads, reports and clients read and change them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    any_,
    bindparam,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    union,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.errors import JobNotFound
from services.analysis.jobs import (
    CANCELLED,
    PROGRESS,
    Analysis,
    Event,
    Job,
    Recording,
    State,
)
from services.analysis.store.request_ids import owner_of, supersede
from services.analysis.store.reuse import Reuse, copied_result, donor_of, reuse_parameters
from services.analysis.store.rows import (
    HISTORY_COLUMNS,
    IS_KEPT,
    JOB_COLUMNS,
    RECORDING_COLUMNS,
    analysis_of,
    attempt_of,
    is_any_of,
    job_of,
)
from services.analysis.store.submissions import Submission, Submissions
from services.analysis.store.transitions import (
    OnTransition,
    Transition,
    apply,
    ending_after,
    locked_row,
)
from services.analysis.tables import attempts, jobs
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.errors import DatabaseUnavailable
from services.runtime.shared_errors import JobEnded, RequestIdReused
from services.runtime.statements import Statement


@dataclass(frozen=True)
class AttachedRecording:
    """A recording that a job already has. sha256: 32 bytes."""

    job_id: UUID
    sha256: bytes


@dataclass(frozen=True)
class Filter:
    """Which analyses a list contains; None does not filter.

    status: as in `Job.status`. created_from is included, created_before is not.
    """

    token_id: int | None = None
    status: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


@retried_on_schema_change
class JobStore:
    """Creates, reads and changes jobs."""

    def __init__(self, database: Database, on_transition: OnTransition = lambda *_: None) -> None:
        self._database = database
        self._on_transition = on_transition
        self._submissions = Submissions(database, on_transition)

    # Uploads.

    async def create(
        self, job_id: UUID, token_id: int, timeout: timedelta, request_id: str | None = None
    ) -> AttachedRecording | None:
        """Create a job that waits for its recording; a repeated call changes nothing.

        timeout: how long the job waits for the first heartbeat of its upload. request_id:
        if a job of the last 24 h has the same one and has its recording, no job is created
        and that recording is returned. If that job's upload is under way, the new job
        supersedes it.
        Errors: RequestIdReused.
        """
        # A concurrent call with the same request id may insert its job first; the second
        # iteration finds it.
        for _ in range(2):
            superseded: tuple[UUID, Transition] | None = None
            async with self._database.transaction() as connection:
                owner = await owner_of(connection, request_id)
                if owner is not None and owner.job_id != job_id:
                    if owner.is_recent and owner.token_id != token_id:
                        raise RequestIdReused
                    if owner.is_recent and owner.sha256 is not None:
                        return AttachedRecording(owner.job_id, owner.sha256)
                    superseded = owner.job_id, await supersede(connection, owner.job_id)
                is_stored = await _insert(connection, job_id, token_id, timeout, request_id)
            if superseded is not None:
                self._notify(*superseded)
            if is_stored:
                return None
        raise DatabaseUnavailable

    async def start_upload(self, job_id: UUID, timeout: timedelta) -> Transition:
        """Record the start of the upload, or a heartbeat of it.

        timeout: how long the job waits for the next heartbeat.
        """
        return await self._apply(job_id, Event.UPLOAD_STARTED, ending_after(timeout))

    async def fail_upload(
        self, job_id: UUID, reason: str, messages: Mapping[str, str]
    ) -> Transition:
        """End a job whose recording will not arrive.

        messages: sentences for the learner by language (BCP-47 code); may be empty.
        """
        values = {"failure_reason": reason, "failure_messages": dict(messages)}
        return await self._apply(job_id, Event.UPLOAD_FAILED, values)

    async def attach_recording(
        self,
        job_id: UUID,
        recording: Recording,
        token_revision: int,
        timeout: timedelta,
        reuse: Reuse | None,
    ) -> Transition:
        """Store the recording and make its dispatch due, or complete the job by reuse.

        token_revision: the revision of the token that was recorded; 0, unknown, prevents
        reuse. timeout: how long until the analysis server must have accepted the job.
        reuse: which stored results may be reused; None for none.
        """
        stored = asdict(recording) | {"token_revision": token_revision}
        async with self._database.transaction() as connection:
            row = await locked_row(connection, job_id)
            donor = donor_of(literal(recording.sha256), literal(row.token_id))
            parameters = reuse_parameters(reuse, token_revision)
            found = await connection.scalar(select(donor.c.job_id), parameters)
            if found is None:
                due = {"due_time": func.now(), "deadline": func.now() + timeout}
                event, values = Event.RECORDING_ATTACHED, stored | due
            else:
                event, values = Event.RESULT_REUSED, stored | copied_result(found)
            transition = await apply(connection, row, event, values)
        self._notify(job_id, transition)
        return transition

    async def submit(self, submission: Submission, timeout: timedelta, reuse: Reuse | None) -> UUID:
        """Create a job with its recording, or attach the recording to the job with its id.

        A repeated call changes nothing. timeout, reuse: as in `attach_recording`. Returns
        the id of the job that has the recording: the submitted id, or that of the job of an
        earlier request with the same request id and the same recording.
        Errors: JobEnded when the id was generated before the SUBMISSION_WINDOW, or when its
        job has ended without a recording; RequestSuperseded; RequestIdReused.
        """
        job_id = await self._submissions.submit(submission, timeout, reuse)
        if job_id is not None:
            return job_id
        try:
            transition = await self.attach_recording(
                submission.job_id,
                submission.recording,
                submission.token_revision,
                timeout,
                reuse,
            )
        except JobNotFound:
            # A client deleted it.
            raise JobEnded(job_id=submission.job_id) from None
        transition.require_upload(submission.job_id)
        return submission.job_id

    # Reports.

    async def complete(self, job_id: UUID, result: bytes, analyzer_version: str) -> Transition:
        """Apply reported results. result: a serialized google.protobuf.Struct."""
        values = {"result": result, "analyzer_version": analyzer_version}
        return await self._apply(job_id, Event.RESULTS_REPORTED, values)

    async def fail(self, job_id: UUID, reason: str, message: str) -> Transition:
        """Apply a reported failure. message: for the learner, may be empty."""
        values = {"failure_reason": reason, "failure_message": message}
        return await self._apply(job_id, Event.FAILURE_REPORTED, values)

    async def advance(self, job_id: UUID, progress: int, stage: str) -> Transition:
        """Apply reported progress. progress: 0 to 100; stage: for the learner, may be empty."""
        values = {"progress": func.greatest(jobs.c.progress, progress), "stage": stage}
        return await self._apply(job_id, Event.PROGRESS_REPORTED, values)

    # Clients.

    async def get(self, job_id: UUID) -> Job:
        """Read a job. Errors: JobNotFound."""
        statement = select(*JOB_COLUMNS).where(jobs.c.job_id == job_id, IS_KEPT)
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise JobNotFound(job_id=job_id)
        return job_of(row)

    async def get_many(self, job_ids: Iterable[UUID]) -> list[Job]:
        """Read jobs for their watchers, in any order; unknown ids are left out.

        Deleted jobs are read too, so that their watchers see the end.
        """
        statement = select(*JOB_COLUMNS).where(is_any_of(job_ids))
        async with self._database.transaction() as connection:
            return [job_of(row) for row in await connection.execute(statement)]

    async def stored_ids(self, job_ids: Iterable[UUID]) -> list[UUID]:
        """Those of the ids whose recordings must be kept, in any order.

        They are those of stored jobs, deleted ones included, and of jobs whose retry is
        stored: the retry has their recording.
        """
        async with self._database.connection() as connection:
            rows = await _STORED_IDS.rows(connection, job_ids=list(job_ids))
        return [row["job_id"] for row in rows]

    async def revisions(self, job_ids: Iterable[UUID]) -> dict[UUID, int]:
        """Read the revisions of jobs; unknown ids are left out."""
        statement = select(jobs.c.job_id, jobs.c.revision).where(is_any_of(job_ids))
        async with self._database.transaction() as connection:
            return {row.job_id: row.revision for row in await connection.execute(statement)}

    async def get_analysis(self, job_id: UUID) -> Analysis:
        """Read a job with its recording, result and history. Errors: JobNotFound."""
        statement = select(*JOB_COLUMNS, *RECORDING_COLUMNS, *HISTORY_COLUMNS)
        history = (
            select(attempts)
            .where(attempts.c.job_id == job_id)
            .order_by(attempts.c.number, attempts.c.end_time)
        )
        async with self._database.transaction() as connection:
            wanted = statement.where(jobs.c.job_id == job_id, IS_KEPT)
            row = (await connection.execute(wanted)).first()
            if row is None:
                raise JobNotFound(job_id=job_id)
            entries = tuple(attempt_of(entry) for entry in await connection.execute(history))
        return analysis_of(row, entries)

    async def list_page(
        self, wanted: Filter, limit: int, position: tuple[datetime, UUID] | None
    ) -> list[Analysis]:
        """Read up to `limit` analyses, newest first, without results and histories.

        position: the create time and id of the analysis before the page; None for the
        first page.
        """
        columns = [column for column in JOB_COLUMNS if column is not jobs.c.result]
        statement = (
            select(*columns, *RECORDING_COLUMNS, *HISTORY_COLUMNS)
            .where(*conditions_of(wanted))
            .order_by(jobs.c.create_time.desc(), jobs.c.job_id.desc())
            .limit(limit)
        )
        if position is not None:
            key = tuple_(jobs.c.create_time, jobs.c.job_id)
            statement = statement.where(key < tuple_(*map(literal, position)))
        async with self._database.transaction() as connection:
            return [analysis_of(row) for row in await connection.execute(statement)]

    async def cancel(self, job_id: UUID) -> Transition:
        """Cancel a job for a client."""
        return await self._apply(job_id, Event.CANCELLED, {"failure_reason": CANCELLED})

    async def retry(self, job_id: UUID, new_job_id: UUID, timeout: timedelta) -> UUID | None:
        """Create a job for the recording of a failed one, due now.

        timeout: as in `attach_recording`. Returns the id of the retry, which an earlier
        call may have created; None when the job has not failed or has no recording.
        Errors: JobNotFound.
        """
        async with self._database.transaction() as connection:
            row = await locked_row(connection, job_id)
            retried = select(jobs.c.job_id).where(jobs.c.retried_job_id == job_id)
            earlier: UUID | None = await connection.scalar(retried)
            if earlier is not None:
                return earlier
            if row.state != State.FAILED or row.object_key is None:
                return None
            await connection.execute(_insert_retry(job_id, new_job_id, timeout))
        self._on_transition(new_job_id, State.QUEUED)
        return new_job_id

    async def _apply(self, job_id: UUID, event: Event, values: Mapping[str, Any]) -> Transition:
        async with self._database.transaction() as connection:
            row = await locked_row(connection, job_id)
            transition = await apply(connection, row, event, values)
        self._notify(job_id, transition)
        return transition

    def _notify(self, job_id: UUID, transition: Transition) -> None:
        if transition.after is not None:
            self._on_transition(job_id, transition.after)


async def _insert(
    connection: AsyncConnection,
    job_id: UUID,
    token_id: int,
    timeout: timedelta,
    request_id: str | None,
) -> bool:
    """Insert a job unless it exists; False when another job has taken the request id."""
    statement = (
        postgresql.insert(jobs)
        .values(
            job_id=job_id,
            token_id=token_id,
            request_id=request_id,
            state=State.OPENED,
            progress=PROGRESS[State.OPENED],
            **ending_after(timeout),
        )
        .on_conflict_do_nothing()
    )
    if (await connection.execute(statement)).rowcount:
        return True
    return bool(await connection.scalar(select(exists().where(jobs.c.job_id == job_id))))


def _insert_retry(job_id: UUID, new_job_id: UUID, timeout: timedelta) -> Any:
    """The statement that inserts a job with the recording of another one."""
    copied = (jobs.c.token_id, jobs.c.token_revision, *RECORDING_COLUMNS)
    fresh = {
        "job_id": literal(new_job_id),
        "retried_job_id": jobs.c.job_id,
        "state": literal(State.QUEUED.value),
        "progress": literal(PROGRESS[State.QUEUED]),
        "due_time": func.now(),
        "deadline": func.now() + timeout,
    }
    source = select(*copied, *fresh.values()).where(jobs.c.job_id == job_id)
    return insert(jobs).from_select([*(column.name for column in copied), *fresh], source)


def conditions_of(wanted: Filter) -> list[ColumnElement[bool]]:
    """The conditions of a filter; deleted jobs meet none."""
    conditions: list[ColumnElement[bool]] = [IS_KEPT]
    if wanted.token_id is not None:
        conditions.append(jobs.c.token_id == wanted.token_id)
    if wanted.status == "processing":
        conditions.append(jobs.c.due_time.is_not(None))
    elif wanted.status is not None:
        # A literal, or PostgreSQL would not use the partial indexes.
        conditions.append(jobs.c.state == bindparam(None, wanted.status, literal_execute=True))
    if wanted.created_from is not None:
        conditions.append(jobs.c.create_time >= wanted.created_from)
    if wanted.created_before is not None:
        conditions.append(jobs.c.create_time < wanted.created_before)
    return conditions


_WANTED = any_(bindparam("job_ids", type_=postgresql.ARRAY(jobs.c.job_id.type)))
_STORED_IDS = Statement(
    union(
        select(jobs.c.job_id).where(jobs.c.job_id == _WANTED),
        select(jobs.c.retried_job_id).where(jobs.c.retried_job_id == _WANTED),
    )
)

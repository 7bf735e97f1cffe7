"""Jobs as uploads, reports and clients read and change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, literal, select

from services.analysis.errors import JobNotFound
from services.analysis.jobs import (
    PROGRESS,
    Recording,
    State,
)
from services.analysis.store.completions import Completion, complete_many
from services.analysis.store.job_reads import JobReads
from services.analysis.store.openings import AttachedRecording, Opening, Openings
from services.analysis.store.quotas import require_room
from services.analysis.store.reuse import DONOR_RESULT, Reuse, is_readable, reuse_parameters
from services.analysis.store.rows import (
    RECORDING_COLUMNS,
)
from services.analysis.store.submissions import Claimant, Submission, Submissions
from services.analysis.store.transition_statements import (
    ADVANCE,
    ATTACH_RECORDING,
    CANCEL,
    FAIL,
    FAIL_UPLOAD,
    START_UPLOAD,
    TransitionStatement,
)
from services.analysis.store.transitions import (
    OnTransition,
    Transition,
    locked_row,
)
from services.analysis.store.turns import next_turn
from services.analysis.tables import jobs
from services.runtime.batches import Batches
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.shared_errors import JobEnded

_MAX_COMPLETED = 16
"""Results may have several megabytes each."""

_COMPLETION_WINDOW_SECONDS = 0.008


@retried_on_schema_change
class JobStore(JobReads):
    """Creates, reads and changes jobs."""

    def __init__(
        self,
        database: Database,
        on_transition: OnTransition = lambda *_: None,
        max_jobs_per_owner: int = 0,
    ) -> None:
        """max_jobs_per_owner: how many jobs an owner may have under way; 0 is unlimited."""
        super().__init__(database)
        self._on_transition = on_transition
        self._max_jobs = max_jobs_per_owner
        self._openings = Openings(database, on_transition, max_jobs_per_owner)
        self._completions = Batches(
            partial(complete_many, database),
            lambda each: each.job_id,
            max_items=_MAX_COMPLETED,
            window_seconds=_COMPLETION_WINDOW_SECONDS,
        )
        self._submissions = Submissions(database, on_transition, max_jobs_per_owner)

    # Uploads.

    async def create(
        self,
        job_id: UUID,
        token_id: int,
        timeout: timedelta,
        request_id: str | None = None,
        owner_id: str | None = None,
    ) -> AttachedRecording | None:
        """Create a job that waits for its recording; a repeated call changes nothing.

        timeout: how long the job waits for the first heartbeat of its upload. request_id:
        if a job of the last 24 h and of the same owner has the same one and has its recording,
        no job is created and that recording is returned. If that job's upload is under way, the
        new job supersedes it. owner_id: as in `Job`.
        Errors: RequestIdReused, TooManyJobs.
        """
        return await self._openings.create(Opening(job_id, token_id, request_id, owner_id), timeout)

    async def start_upload(self, job_id: UUID, timeout: timedelta) -> Transition:
        """Record the start of the upload, or a heartbeat of it.

        timeout: how long the job waits for the next heartbeat.
        """
        return await self._apply(START_UPLOAD, job_id, timeout=timeout)

    async def fail_upload(
        self, job_id: UUID, reason: str, messages: Mapping[str, str]
    ) -> Transition:
        """End a job whose recording will not arrive.

        messages: sentences for the learner by language (BCP-47 code); may be empty.
        """
        sentences = dict(messages)
        return await self._apply(
            FAIL_UPLOAD, job_id, failure_reason=reason, failure_messages=sentences
        )

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
        reuse: which stored results of the owner may be reused; None for none.
        """
        reused = reuse_parameters(reuse, token_revision)
        if reuse is not None and not await self._is_reusable(job_id, recording.sha256, reused):
            reused = reuse_parameters(None, token_revision)
        values = asdict(recording) | reused
        return await self._apply(
            ATTACH_RECORDING, job_id, token_revision=token_revision, timeout=timeout, **values
        )

    async def _is_reusable(self, job_id: UUID, sha256: bytes, reused: dict[str, object]) -> bool:
        async with self._database.connection() as connection:
            donor = await DONOR_RESULT.row(connection, job_id=job_id, sha256=sha256, **reused)
        return donor is None or is_readable(donor["result"])

    async def submit(
        self,
        submission: Submission,
        timeout: timedelta,
        reuse: Reuse | None,
        claimant: Claimant | None = None,
    ) -> UUID:
        """Create a job with its recording, or attach the recording to the job with its id.

        A repeated call changes nothing. timeout, reuse: as in `attach_recording`. claimant:
        starts to work on a created job, unless another job waits; None leaves it to the workers.
        Returns the id of the job that has the recording: the submitted id, or that of the job of an
        earlier request with the same request id and the same recording.
        Errors: JobEnded when the id was generated before the SUBMISSION_WINDOW, or when its
        job has ended without a recording; RequestSuperseded; RequestIdReused; TooManyJobs.
        """
        job_id = await self._submissions.submit(submission, timeout, reuse, claimant)
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
        """Apply reported results. result: a serialized google.protobuf.Struct.

        Results of several jobs that are reported at the same time go in one statement.
        """
        transition = await self._completions.run(Completion(job_id, result, analyzer_version))
        if transition is None:
            raise JobNotFound(job_id=job_id)
        if transition.after is not None:
            self._on_transition(job_id, transition.after)
        return transition

    async def fail(self, job_id: UUID, reason: str, message: str) -> Transition:
        """Apply a reported failure. message: for the learner, may be empty."""
        return await self._apply(FAIL, job_id, failure_reason=reason, failure_message=message)

    async def advance(self, job_id: UUID, progress: int, stage: str) -> Transition:
        """Apply reported progress. progress: 0 to 100; stage: for the learner, may be empty."""
        return await self._apply(ADVANCE, job_id, progress=progress, stage=stage)

    # Clients.

    async def cancel(self, job_id: UUID) -> Transition:
        """Cancel a job for a client."""
        return await self._apply(CANCEL, job_id)

    async def retry(self, job_id: UUID, new_job_id: UUID, timeout: timedelta) -> UUID | None:
        """Create a job of the same owner for the recording of a failed one, due now.

        timeout: as in `attach_recording`. Returns the id of the retry, which an earlier
        call may have created; None when the job has not failed or has no recording.
        Errors: JobNotFound, TooManyJobs.
        """
        async with self._database.transaction() as connection:
            row = await locked_row(connection, job_id)
            retried = select(jobs.c.job_id).where(jobs.c.retried_job_id == job_id)
            earlier: UUID | None = await connection.scalar(retried)
            if earlier is not None:
                return earlier
            if row.state != State.FAILED or row.object_key is None:
                return None
            await require_room(connection, row.owner_id, self._max_jobs)
            await connection.execute(_insert_retry(job_id, new_job_id, timeout))
        self._on_transition(new_job_id, State.QUEUED)
        return new_job_id

    async def _apply(
        self, statement: TransitionStatement, job_id: UUID, **values: object
    ) -> Transition:
        transition = await statement.apply(self._database, job_id, **values)
        if transition.after is not None:
            self._on_transition(job_id, transition.after)
        return transition


def _insert_retry(job_id: UUID, new_job_id: UUID, timeout: timedelta) -> Any:
    """The statement that inserts a job with the recording of another one."""
    copied = (jobs.c.token_id, jobs.c.owner_id, jobs.c.token_revision, *RECORDING_COLUMNS)
    fresh = {
        "job_id": literal(new_job_id),
        "retried_job_id": jobs.c.job_id,
        "state": literal(State.QUEUED.value),
        "progress": literal(PROGRESS[State.QUEUED]),
        "turn": next_turn(jobs.c.owner_id),
        "due_time": func.now(),
        "deadline": func.now() + timeout,
    }
    source = select(*copied, *fresh.values()).where(jobs.c.job_id == job_id)
    return insert(jobs).from_select([*(column.name for column in copied), *fresh], source)

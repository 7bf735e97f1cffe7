"""The servicers of AnalysisService and AnalysisIntakeService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, nullcontext
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog
from google.protobuf.empty_pb2 import Empty

from services.analysis.admission import Admission
from services.analysis.converters import (
    analysis_to,
    effect_of,
    filter_from,
    job_id_from,
    job_ids_from,
    learner_messages_from,
    owner_id_from,
    position_from,
    progress_to,
    recording_from,
    request_id_from,
    result_to,
    submission_from,
    token_id_from,
)
from services.analysis.errors import AnalysisEnded, AnalysisNotFailed, JobNotFound, RecordingMissing
from services.analysis.jobs import State, progress_of
from services.analysis.progress import ProgressFeed
from services.analysis.report_parser import ReportParser
from services.analysis.reports import REASON, Failure, Progress, Report, Results
from services.analysis.settings import AnalysisSettings
from services.analysis.store import (
    Claimant,
    Deletions,
    JobStore,
    Reuse,
    Submission,
    Transition,
)
from services.analysis.viewers import Viewer
from services.analysis.webhook import WebhookSigner
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.ids import random_uuid7
from services.runtime.interceptors import Context, call_language
from services.runtime.paging import page_size_of, page_token
from services.runtime.watch_limit import WatchLimit
from sori.analysis.v1 import analysis_pb2 as pb
from sori.analysis.v1 import analysis_pb2_grpc

MAX_UPLOAD_TIMEOUT = timedelta(days=30)

Reserved = Callable[[], AbstractContextManager[Claimant | None]]

_logger = structlog.get_logger(__name__)


class AnalysisServicer(analysis_pb2_grpc.AnalysisServiceServicer):
    """The rpcs for clients and for the analysis server."""

    def __init__(
        self,
        settings: AnalysisSettings,
        store: JobStore,
        deletions: Deletions,
        feed: ProgressFeed,
        webhook: WebhookSigner,
        parser: ReportParser,
    ) -> None:
        self._settings = settings
        self._store = store
        self._deletions = deletions
        self._feed = feed
        self._webhook = webhook
        self._watch_limit = WatchLimit(
            per_client=settings.max_watches_per_client, total=settings.analysis_max_watches
        )
        self._parser = parser

    async def GetAnalysisResult(
        self, request: pb.GetAnalysisResultRequest, context: Context
    ) -> pb.AnalysisResult:
        viewer = self._viewer(context)
        job = await self._store.get(job_id_from(request.job_id), viewer.may_use)
        return result_to(job, call_language(context))

    async def WatchAnalysis(
        self, request: pb.WatchAnalysisRequest, context: Context
    ) -> AsyncIterator[pb.AnalysisProgress]:
        language = call_language(context)
        viewer, job_id = self._viewer(context), job_id_from(request.job_id)
        with self._watch_limit.watch(viewer.limited_as):
            async with aclosing(self._feed.watch(job_id, viewer.may_use)) as states:
                async for job in states:
                    yield progress_to(job, language)

    async def GetAnalysis(self, request: pb.GetAnalysisRequest, context: Context) -> pb.Analysis:
        may_use = self._viewer(context).may_use
        analysis = await self._store.get_analysis(job_id_from(request.job_id), may_use)
        return analysis_to(analysis, call_language(context))

    async def ListAnalyses(
        self, request: pb.ListAnalysesRequest, context: Context
    ) -> pb.ListAnalysesResponse:
        wanted, size = filter_from(request), page_size_of(request.page_size)
        wanted = replace(wanted, owner_id=self._viewer(context).listed_owner(wanted.owner_id))
        # A page token is for the list of one owner.
        request.owner_id = wanted.owner_id or ""
        # One more than the page shows whether another page follows.
        found = await self._store.list_page(wanted, size + 1, position_from(request))
        answer = pb.ListAnalysesResponse()
        answer.analyses.extend(analysis_to(each, call_language(context)) for each in found[:size])
        if len(found) > size:
            last = found[size - 1]
            position = (last.create_time.isoformat(), str(last.job.job_id))
            answer.next_page_token = page_token(request, position)
        return answer

    async def CancelAnalysis(
        self, request: pb.CancelAnalysisRequest, context: Context
    ) -> pb.Analysis:
        job_id = await self._usable(request.job_id, context)
        transition = await self._store.cancel(job_id)
        if not transition.applied and transition.before is not State.CANCELLED:
            raise AnalysisEnded(job_id=job_id, status=transition.before)
        return await self._analysis(job_id, context)

    async def RetryAnalysis(
        self, request: pb.RetryAnalysisRequest, context: Context
    ) -> pb.Analysis:
        job_id = await self._usable(request.job_id, context)
        timeout = timedelta(seconds=self._settings.dispatch_deadline_seconds)
        retry_id = await self._store.retry(job_id, random_uuid7(), timeout)
        if retry_id is None:
            job = await self._store.get(job_id)
            if job.state is State.FAILED:
                raise RecordingMissing(job_id=job_id)
            raise AnalysisNotFailed(job_id=job_id, status=job.status)
        return await self._analysis(retry_id, context)

    async def DeleteAnalysis(self, request: pb.DeleteAnalysisRequest, context: Context) -> Empty:
        try:
            job_id = await self._usable(request.job_id, context)
            await self._deletions.delete(job_id)
        except JobNotFound:
            if not request.allow_missing:
                raise
        else:
            _logger.info("analysis deleted", job_id=str(job_id))
        return Empty()

    async def ReportAnalysis(
        self, request: pb.ReportAnalysisRequest, context: Context
    ) -> pb.ReportAnalysisResponse:
        job_id = job_id_from(request.job_id)
        # First, because parsing a report is expensive.
        self._webhook.verify(job_id, request.signature)
        report = await self._parser.parse(request.report.data)
        effect = effect_of(report, await self._apply(job_id, report))
        _logger.info("report", job_id=str(job_id), effect=pb.ReportEffect.Name(effect))
        return pb.ReportAnalysisResponse(received=True, job_id=str(job_id), effect=effect)

    async def _apply(self, job_id: UUID, report: Report) -> Transition:
        match report:
            case Results(result, version):
                version = version or self._settings.analyzer_version
                return await self._store.complete(job_id, result, version)
            case Failure(reason, message):
                return await self._store.fail(job_id, reason, message)
            case Progress(percent, stage):
                return await self._store.advance(job_id, progress_of(percent), stage)

    def _viewer(self, context: Context) -> Viewer:
        return Viewer.of(context, guests=self._settings.guests_admitted)

    async def _usable(self, job_id: str, context: Context) -> UUID:
        """The id of a job that the caller may use. Errors: InvalidField, JobNotFound."""
        parsed = job_id_from(job_id)
        await self._store.require(parsed, self._viewer(context).may_use)
        return parsed

    async def _analysis(self, job_id: UUID, context: Context) -> pb.Analysis:
        return analysis_to(await self._store.get_analysis(job_id), call_language(context))


class AnalysisIntakeServicer(analysis_pb2_grpc.AnalysisIntakeServiceServicer):
    """The rpcs for the upload service."""

    def __init__(
        self,
        settings: AnalysisSettings,
        store: JobStore,
        admission: Admission | None = None,
        reserved: Reserved = nullcontext,
    ) -> None:
        """admission: of calls that queue jobs; default: unlimited.

        reserved: as `Worker.reserved`; default: another process works on the jobs.
        """
        self._store = store
        self._reserved = reserved
        self._admission = admission
        self._upload_timeout = timedelta(seconds=settings.upload_timeout_seconds)
        self._dispatch_deadline = timedelta(seconds=settings.dispatch_deadline_seconds)
        self._reuse = Reuse(settings.analyzer_version or None) if settings.result_reuse else None

    async def OpenAnalysis(
        self, request: pb.OpenAnalysisRequest, context: Context
    ) -> pb.OpenAnalysisResponse:
        attached = await self._store.create(
            job_id_from(request.job_id),
            token_id_from(request.token_id),
            self._timeout_from(request),
            request_id_from(request.request_id),
            owner_id_from(request.owner_id),
        )
        answer = pb.OpenAnalysisResponse()
        if attached is not None:
            answer.attached.job_id = str(attached.job_id)
            answer.attached.sha256 = attached.sha256
        return answer

    async def StartUpload(
        self, request: pb.StartUploadRequest, context: Context
    ) -> pb.StartUploadResponse:
        job_id = job_id_from(request.job_id)
        transition = await self._store.start_upload(job_id, self._timeout_from(request))
        transition.require_upload(job_id)
        return pb.StartUploadResponse()

    async def AttachRecording(
        self, request: pb.AttachRecordingRequest, context: Context
    ) -> pb.AttachRecordingResponse:
        job_id = job_id_from(request.job_id)
        recording = recording_from(request.recording)
        async with self._admitted():
            transition = await self._store.attach_recording(
                job_id, recording, request.token_revision, self._dispatch_deadline, self._reuse
            )
        transition.require_upload(job_id)
        return pb.AttachRecordingResponse()

    async def SubmitRecording(
        self, request: pb.SubmitRecordingRequest, context: Context
    ) -> pb.SubmitRecordingResponse:
        submission = submission_from(request)
        async with self._admitted():
            # Once sent, the statement takes effect even if the caller disconnects: then the
            # worker must learn that it has the job.
            job_id = await asyncio.shield(asyncio.create_task(self._submit(submission)))
        return pb.SubmitRecordingResponse(job_id=str(job_id))

    async def _submit(self, submission: Submission) -> UUID:
        with self._reserved() as claimant:
            return await self._store.submit(
                submission, self._dispatch_deadline, self._reuse, claimant
            )

    async def BatchCheckJobs(
        self, request: pb.BatchCheckJobsRequest, context: Context
    ) -> pb.BatchCheckJobsResponse:
        stored = await self._store.stored_ids(job_ids_from(request))
        return pb.BatchCheckJobsResponse(job_ids=map(str, stored))

    async def FailUpload(
        self, request: pb.FailUploadRequest, context: Context
    ) -> pb.FailUploadResponse:
        if not REASON.fullmatch(request.reason):
            problem = "must be UPPER_SNAKE_CASE of at most 64 characters"
            raise InvalidField(FieldViolation("reason", problem))
        messages = learner_messages_from(request.learner_messages)
        transition = await self._store.fail_upload(
            job_id_from(request.job_id), request.reason, messages
        )
        return pb.FailUploadResponse(recording_attached=transition.has_recording)

    def _admitted(self) -> AbstractAsyncContextManager[None]:
        return self._admission.admitted() if self._admission else nullcontext()

    def _timeout_from(self, request: pb.OpenAnalysisRequest | pb.StartUploadRequest) -> timedelta:
        if not request.HasField("upload_timeout"):
            return self._upload_timeout
        timeout = request.upload_timeout.ToTimedelta()
        if not timedelta(0) < timeout <= MAX_UPLOAD_TIMEOUT:
            problem = f"must be more than 0 and at most {MAX_UPLOAD_TIMEOUT.days} days"
            raise InvalidField(FieldViolation("upload_timeout", problem))
        return timeout

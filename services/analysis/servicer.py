"""The AnalysisService and the AnalysisIntakeService: protobuf in, domain call, protobuf out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from uuid import UUID

import structlog
from google.protobuf.struct_pb2 import Struct

from services.analysis.jobs import Job, Recording
from services.analysis.progress import ProgressFeed
from services.analysis.sentences import sentence_of
from services.analysis.store import JobStore
from services.analysis.webhook import Webhook
from services.runtime.calls import Context, call_language
from services.runtime.errors import FieldViolation, InvalidField, JobEnded
from sori.analysis.v1 import analysis_pb2 as pb
from sori.analysis.v1 import analysis_pb2_grpc

MAX_FAILURE_MESSAGE = 1000
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_logger = structlog.get_logger(__name__)


class AnalysisServicer(analysis_pb2_grpc.AnalysisServiceServicer):
    """What clients and the analysis server see of analyses."""

    def __init__(self, store: JobStore, feed: ProgressFeed, webhook: Webhook) -> None:
        self._store = store
        self._feed = feed
        self._webhook = webhook

    async def GetAnalysisResult(
        self, request: pb.GetAnalysisResultRequest, context: Context
    ) -> pb.AnalysisResult:
        job = await self._store.get(_job_id(request.job_id))
        return pb.AnalysisResult(
            status=job.status,
            token_id=str(job.token_id),
            progress=job.progress,
            result=_result(job),
            message=sentence_of(job, call_language(context)),
            failure_reason=job.failure_reason,
        )

    async def WatchAnalysis(
        self, request: pb.WatchAnalysisRequest, context: Context
    ) -> AsyncIterator[pb.AnalysisProgress]:
        language = call_language(context)
        async with aclosing(self._feed.watch(_job_id(request.job_id))) as states:
            async for job in states:
                yield pb.AnalysisProgress(
                    status=job.status,
                    progress=job.progress,
                    message=sentence_of(job, language),
                    result=_result(job),
                    failure_reason=job.failure_reason,
                )

    async def ReportAnalysis(
        self, request: pb.ReportAnalysisRequest, context: Context
    ) -> pb.ReportAnalysisResponse:
        job_id = _job_id(request.job_id)
        self._webhook.check(job_id, request.signature)
        changed = await self._report(job_id, request.report)
        if not changed:
            await self._store.get(job_id)
        _logger.info("report", job_id=str(job_id), changed=changed)
        return pb.ReportAnalysisResponse(received=True, job_id=str(job_id))

    async def _report(self, job_id: UUID, report: pb.AnalysisReport) -> bool:
        if report.HasField("analysis_results"):
            return await self._store.complete(job_id, report.analysis_results.SerializeToString())
        if report.status != "failed":
            problem = "must be an object, or status must be 'failed'"
            raise InvalidField(FieldViolation("analysis_results", problem))
        reason = report.reason if _REASON.fullmatch(report.reason) else "ANALYSIS_FAILED"
        message = report.error.replace("\0", "")[:MAX_FAILURE_MESSAGE]
        return await self._store.fail(job_id, reason, message)


class AnalysisIntakeServicer(analysis_pb2_grpc.AnalysisIntakeServiceServicer):
    """What the upload service tells of jobs."""

    def __init__(self, store: JobStore, upload_timeout: timedelta) -> None:
        self._store = store
        self._upload_timeout = upload_timeout

    async def OpenAnalysis(
        self, request: pb.OpenAnalysisRequest, context: Context
    ) -> pb.OpenAnalysisResponse:
        if request.token_id < 1:
            raise InvalidField(FieldViolation("token_id", "must be 1 or more"))
        await self._store.open(_job_id(request.job_id), request.token_id, self._upload_timeout)
        return pb.OpenAnalysisResponse()

    async def StartUpload(
        self, request: pb.StartUploadRequest, context: Context
    ) -> pb.StartUploadResponse:
        job_id = _job_id(request.job_id)
        if not await self._store.start_upload(job_id):
            await self._store.get(job_id)
        return pb.StartUploadResponse()

    async def AttachRecording(
        self, request: pb.AttachRecordingRequest, context: Context
    ) -> pb.AttachRecordingResponse:
        job_id = _job_id(request.job_id)
        recording = Recording(
            object_key=request.recording.object_key,
            size=request.recording.size,
            content_type=request.recording.content_type,
            sha256=request.recording.sha256,
            file_name=request.recording.file_name,
        )
        attached = await self._store.attach(job_id, recording)
        # A repeat finds its recording attached; a job that failed before takes none.
        if not attached and not await self._store.has_recording(job_id):
            raise JobEnded(job_id=job_id)
        return pb.AttachRecordingResponse()

    async def FailUpload(
        self, request: pb.FailUploadRequest, context: Context
    ) -> pb.FailUploadResponse:
        job_id = _job_id(request.job_id)
        if not _REASON.fullmatch(request.reason):
            raise InvalidField(FieldViolation("reason", "must be UPPER_SNAKE_CASE"))
        failed = await self._store.fail_upload(job_id, request.reason)
        attached = not failed and await self._store.has_recording(job_id)
        return pb.FailUploadResponse(recording_attached=attached)


def _job_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidField(FieldViolation("job_id", "must be a UUID")) from None


def _result(job: Job) -> Struct | None:
    return None if job.result is None else Struct.FromString(job.result)

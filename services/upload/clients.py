"""Clients of the services that the upload service calls: the catalog and analysis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import grpc
from cachetools import LRUCache
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc import StatusCode
from grpc_status import rpc_status

from services.runtime.errors import SoriError
from services.runtime.language import Language
from services.runtime.shared_errors import (
    AnalysisUnavailable,
    JobEnded,
    RequestIdReused,
    RequestSuperseded,
    TokenNotFound,
    TooManyJobs,
)
from services.runtime.times import duration_of
from services.runtime.token_cache import TokenCache
from services.upload.errors import CatalogUnavailable, UploadFailure
from services.upload.models import AssetKind, StoredObject
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc

MAX_CACHED_TOKENS = 10_000


class CatalogClient:
    """Calls the catalog; caches token revisions while the stream of token changes is open."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        self._revisions = TokenCache[int](self._stub, LRUCache(MAX_CACHED_TOKENS))

    async def run(self) -> None:
        """Follow the changes of tokens; returns only when cancelled."""
        await self._revisions.run()

    async def set_asset(self, token_id: int, kind: AssetKind, object_key: str) -> int:
        """Make an object a reference asset of a token; returns the token's revision.

        Errors: TokenNotFound, CatalogUnavailable.
        """
        update = catalog_pb2.UpdateTokenRequest()
        update.token.id = token_id
        getattr(update.token.reference_assets, kind).object_key = object_key
        update.update_mask.paths.append(f"reference_assets.{kind}")
        with _translated(
            {StatusCode.NOT_FOUND: TokenNotFound(token_id=token_id)}, otherwise=CatalogUnavailable()
        ):
            token = await self._stub.UpdateToken(update)
        self._revisions.remove(token_id)
        return token.revision

    async def has_asset(self, token_id: int, kind: AssetKind, object_key: str) -> bool:
        """Whether an object is the current reference asset of a token.

        Errors: CatalogUnavailable.
        """
        try:
            token = await self._token(token_id)
        except TokenNotFound:
            return False
        current: str = getattr(token.reference_assets, kind).object_key
        return current == object_key

    async def token_revision(self, token_id: int) -> int:
        """The revision of a token. Errors: TokenNotFound, CatalogUnavailable."""
        revision = self._revisions.get(token_id)
        if revision is None:
            revision = await self._revisions.read(token_id, partial(self._revision_of, token_id))
        return revision

    async def _revision_of(self, token_id: int) -> int:
        return (await self._token(token_id)).revision

    async def _token(self, token_id: int) -> catalog_pb2.Token:
        with _translated(
            {StatusCode.NOT_FOUND: TokenNotFound(token_id=token_id)}, otherwise=CatalogUnavailable()
        ):
            return await self._stub.GetToken(catalog_pb2.GetTokenRequest(id=token_id))


@dataclass(frozen=True)
class EarlierRecording:
    """A recording that an earlier request with the same id uploaded. sha256: 32 bytes."""

    job_id: UUID
    sha256: bytes


class SubmissionUnsupported(Exception):
    """The analysis service is an older release, as during a rollout."""


class AnalysisClient:
    """Calls the analysis service about the jobs of recordings."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)

    async def open_job(
        self,
        job_id: UUID,
        token_id: int,
        request_id: str = "",
        timeout: timedelta | None = None,
        owner_id: str = "",
    ) -> EarlierRecording | None:
        """Open a job, or find the recording that an earlier request with this id uploaded.

        timeout: how long the job waits for a heartbeat of its upload.
        owner_id: the owner of a new job; empty for none.
        Errors: RequestIdReused, TooManyJobs, AnalysisUnavailable.
        """
        with _translated(
            {StatusCode.INVALID_ARGUMENT: RequestIdReused()}, otherwise=AnalysisUnavailable()
        ):
            answer = await self._stub.OpenAnalysis(
                analysis_pb2.OpenAnalysisRequest(
                    job_id=str(job_id),
                    token_id=token_id,
                    request_id=request_id,
                    upload_timeout=_optional(timeout),
                    owner_id=owner_id,
                )
            )
        if not answer.HasField("attached"):
            return None
        return EarlierRecording(UUID(answer.attached.job_id), answer.attached.sha256)

    async def start_upload(self, job_id: UUID, timeout: timedelta | None = None) -> None:
        """Report that the upload continues. timeout: until the next heartbeat.

        Errors: JobEnded, RequestSuperseded, AnalysisUnavailable.
        """
        with _translated(_end_errors(job_id), otherwise=AnalysisUnavailable()):
            await self._stub.StartUpload(
                analysis_pb2.StartUploadRequest(
                    job_id=str(job_id), upload_timeout=_optional(timeout)
                )
            )

    async def attach_recording(
        self, job_id: UUID, recording: StoredObject, file_name: str, token_revision: int
    ) -> None:
        """Hand the recording over. Errors: JobEnded, RequestSuperseded, AnalysisUnavailable."""
        with _translated(_end_errors(job_id), otherwise=AnalysisUnavailable()):
            await self._stub.AttachRecording(
                analysis_pb2.AttachRecordingRequest(
                    job_id=str(job_id),
                    recording=_recording_to(recording, file_name),
                    token_revision=token_revision,
                )
            )

    async def submit_recording(
        self,
        job_id: UUID,
        token_id: int,
        recording: StoredObject,
        *,
        request_id: str = "",
        file_name: str = "",
        token_revision: int = 0,
        owner_id: str = "",
    ) -> UUID:
        """Create a job that has its recording already; may be repeated.

        owner_id: the owner of the job; empty for none.
        Returns the job: this one, or the job of an earlier request with this id and audio.
        Errors: RequestIdReused, TooManyJobs, JobEnded and RequestSuperseded, after which no job has
        the recording; AnalysisUnavailable, after which the job may have it; SubmissionUnsupported.
        """
        refusals = {
            StatusCode.INVALID_ARGUMENT: RequestIdReused(),
            StatusCode.UNIMPLEMENTED: SubmissionUnsupported(),
            **_end_errors(job_id),
        }
        with _translated(refusals, otherwise=AnalysisUnavailable()):
            answer = await self._stub.SubmitRecording(
                analysis_pb2.SubmitRecordingRequest(
                    job_id=str(job_id),
                    token_id=token_id,
                    request_id=request_id,
                    recording=_recording_to(recording, file_name),
                    token_revision=token_revision,
                    owner_id=owner_id,
                )
            )
        return UUID(answer.job_id)

    async def existing_jobs(self, job_ids: Iterable[UUID]) -> set[UUID]:
        """Those of at most 1,000 jobs that exist. Errors: AnalysisUnavailable."""
        with _translated({}, otherwise=AnalysisUnavailable()):
            answer = await self._stub.BatchCheckJobs(
                analysis_pb2.BatchCheckJobsRequest(job_ids=map(str, job_ids))
            )
        return set(map(UUID, answer.job_ids))

    async def fail_upload(self, job_id: UUID, failure: UploadFailure) -> bool:
        """End the job; False when it has its recording and continues.

        A deleted job has ended. Errors: AnalysisUnavailable.
        """
        request = analysis_pb2.FailUploadRequest(
            job_id=str(job_id),
            reason=failure.reason,
            learner_messages={
                language.value: failure.learner_message.text(language) for language in Language
            },
        )
        try:
            with _translated(_end_errors(job_id), otherwise=AnalysisUnavailable()):
                answer = await self._stub.FailUpload(request)
        except JobEnded:
            return True
        return not answer.recording_attached


def _recording_to(recording: StoredObject, file_name: str) -> analysis_pb2.Recording:
    return analysis_pb2.Recording(
        object_key=recording.object_key,
        size=recording.size,
        content_type=recording.content_type,
        sha256=recording.sha256,
        file_name=file_name,
    )


def _optional(span: timedelta | None) -> Duration | None:
    return None if span is None else duration_of(span)


def _end_errors(job_id: UUID) -> dict[StatusCode, SoriError]:
    """The errors for a job that ended while its recording was uploaded."""
    return {
        StatusCode.FAILED_PRECONDITION: JobEnded(job_id=job_id),
        # Its analysis was deleted.
        StatusCode.NOT_FOUND: JobEnded(job_id=job_id),
        StatusCode.ABORTED: RequestSuperseded(),
    }


@contextmanager
def _translated(
    expected: Mapping[StatusCode, Exception], *, otherwise: SoriError
) -> Iterator[None]:
    """Translate the status of a failed call into an error of this service."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _too_many_jobs(error) or expected.get(error.code(), otherwise) from error


def _too_many_jobs(error: grpc.aio.AioRpcError) -> TooManyJobs | None:
    """The error of an owner with too many jobs; None for calls that are refused otherwise."""
    if error.code() is not StatusCode.RESOURCE_EXHAUSTED:
        return None
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info) and info.reason == TooManyJobs.reason:
            return TooManyJobs(limit=int(info.metadata["limit"]))
    return None

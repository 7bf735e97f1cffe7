"""What the upload service asks of catalog and analysis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import grpc
from cachetools import TTLCache
from grpc import StatusCode

from services.runtime.errors import (
    AnalysisUnavailable,
    CatalogUnavailable,
    JobEnded,
    RequestIdReused,
    SoriError,
    TokenNotFound,
    UploadSuperseded,
)
from services.upload.recording import StoredRecording
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc

MAX_CACHED_TOKENS = 10_000


class Catalog:
    """The revisions of tokens, remembered for a short while."""

    def __init__(self, channel: grpc.aio.Channel, cache_seconds: float) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        self._known: TTLCache[int, int] = TTLCache(MAX_CACHED_TOKENS, cache_seconds)

    async def token_revision(self, token_id: int) -> int:
        """The revision of a token. Errors: TokenNotFound, CatalogUnavailable."""
        known: int | None = self._known.get(token_id)
        if known is not None:
            return known
        with _translated(
            {StatusCode.NOT_FOUND: TokenNotFound(token_id=token_id)}, otherwise=CatalogUnavailable()
        ):
            token = await self._stub.GetToken(catalog_pb2.GetTokenRequest(id=token_id))
        self._known[token_id] = token.revision
        return token.revision


@dataclass(frozen=True)
class Attached:
    """A recording that came with the same request id before. sha256: 32 bytes."""

    job_id: UUID
    sha256: bytes


class Analysis:
    """The jobs of recordings on their way."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)

    async def open(self, job_id: UUID, token_id: int, request_id: str) -> Attached | None:
        """Open a job, or learn which recording the request id has brought already.

        request_id: may be empty. Errors: RequestIdReused, AnalysisUnavailable.
        """
        with _translated(
            {StatusCode.INVALID_ARGUMENT: RequestIdReused()}, otherwise=AnalysisUnavailable()
        ):
            answer = await self._stub.OpenAnalysis(
                analysis_pb2.OpenAnalysisRequest(
                    job_id=str(job_id), token_id=token_id, request_id=request_id
                )
            )
        if not answer.HasField("attached"):
            return None
        return Attached(UUID(answer.attached.job_id), answer.attached.sha256)

    async def start_upload(self, job_id: UUID) -> None:
        """Tell that the recording is on its way.

        Errors: JobEnded, UploadSuperseded, AnalysisUnavailable.
        """
        with _translated(_endings(job_id), otherwise=AnalysisUnavailable()):
            await self._stub.StartUpload(analysis_pb2.StartUploadRequest(job_id=str(job_id)))

    async def attach(
        self, job_id: UUID, recording: StoredRecording, file_name: str, token_revision: int
    ) -> None:
        """Hand the recording over. Errors: JobEnded, UploadSuperseded, AnalysisUnavailable."""
        with _translated(_endings(job_id), otherwise=AnalysisUnavailable()):
            await self._stub.AttachRecording(
                analysis_pb2.AttachRecordingRequest(
                    job_id=str(job_id),
                    recording=analysis_pb2.Recording(
                        object_key=recording.object_key,
                        size=recording.size,
                        content_type=recording.content_type,
                        sha256=recording.sha256,
                        file_name=file_name,
                    ),
                    token_revision=token_revision,
                )
            )

    async def fail_upload(self, job_id: UUID, reason: str) -> bool:
        """End the job; False when the recording was attached and the job goes on.

        Errors: AnalysisUnavailable.
        """
        with _translated({}, otherwise=AnalysisUnavailable()):
            answer = await self._stub.FailUpload(
                analysis_pb2.FailUploadRequest(job_id=str(job_id), reason=reason)
            )
        return not answer.recording_attached


def _endings(job_id: UUID) -> dict[StatusCode, SoriError]:
    """How a job may have ended while its recording was on its way."""
    return {
        StatusCode.FAILED_PRECONDITION: JobEnded(job_id=job_id),
        StatusCode.ABORTED: UploadSuperseded(),
    }


@contextmanager
def _translated(expected: dict[StatusCode, SoriError], *, otherwise: SoriError) -> Iterator[None]:
    """Turn the status of a failed call into an error of the catalogue."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise expected.get(error.code(), otherwise) from error

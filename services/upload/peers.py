"""What the upload service asks of catalog and analysis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import grpc
from cachetools import TTLCache
from grpc import StatusCode

from services.runtime.errors import (
    AnalysisUnavailable,
    CatalogUnavailable,
    JobEnded,
    SoriError,
    TokenNotFound,
)
from services.upload.recording import StoredRecording
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc

MAX_CACHED_TOKENS = 10_000


class Catalog:
    """Which tokens exist, remembered for a short while."""

    def __init__(self, channel: grpc.aio.Channel, cache_seconds: float) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        self._known: TTLCache[int, bool] = TTLCache(MAX_CACHED_TOKENS, cache_seconds)

    async def require_token(self, token_id: int) -> None:
        """Errors: TokenNotFound, CatalogUnavailable."""
        if token_id in self._known:
            return
        with _translated(
            {StatusCode.NOT_FOUND: TokenNotFound(token_id=token_id)}, otherwise=CatalogUnavailable()
        ):
            await self._stub.GetToken(catalog_pb2.GetTokenRequest(id=token_id))
        self._known[token_id] = True


class Analysis:
    """The jobs of recordings on their way."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)

    async def open(self, job_id: UUID, token_id: int) -> None:
        """Open a job. Errors: AnalysisUnavailable."""
        with _translated({}, otherwise=AnalysisUnavailable()):
            await self._stub.OpenAnalysis(
                analysis_pb2.OpenAnalysisRequest(job_id=str(job_id), token_id=token_id)
            )

    async def start_upload(self, job_id: UUID) -> None:
        """Tell that the recording is on its way. Errors: AnalysisUnavailable."""
        with _translated({}, otherwise=AnalysisUnavailable()):
            await self._stub.StartUpload(analysis_pb2.StartUploadRequest(job_id=str(job_id)))

    async def attach(self, job_id: UUID, recording: StoredRecording, file_name: str) -> None:
        """Hand the recording over. Errors: JobEnded, AnalysisUnavailable."""
        with _translated(
            {StatusCode.FAILED_PRECONDITION: JobEnded(job_id=job_id)},
            otherwise=AnalysisUnavailable(),
        ):
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


@contextmanager
def _translated(expected: dict[StatusCode, SoriError], *, otherwise: SoriError) -> Iterator[None]:
    """Turn the status of a failed call into an error of the catalogue."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise expected.get(error.code(), otherwise) from error

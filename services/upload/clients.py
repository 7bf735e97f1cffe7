"""What the upload service asks of catalog and analysis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import grpc
import structlog
from cachetools import LRUCache
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

from services.runtime.errors import SoriError
from services.runtime.shared_errors import (
    AnalysisUnavailable,
    JobEnded,
    RequestIdReused,
    TokenNotFound,
)
from services.runtime.times import duration_of
from services.upload.errors import CatalogUnavailable, UploadSuperseded
from services.upload.stream import AssetKind
from services.upload.writer import StoredObject
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc

MAX_CACHED_TOKENS = 10_000
RECONNECT_SECONDS = 0.5

_logger = structlog.get_logger(__name__)


class CatalogClient:
    """The revisions of tokens, remembered for as long as their changes are heard of."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        self._known: LRUCache[int, int] = LRUCache(MAX_CACHED_TOKENS)
        self._is_heard = False
        self._heard = 0

    async def run(self) -> None:
        """Hear of changes for ever."""
        cursor = ""
        while True:
            try:
                async for notice in self._stub.WatchTokens(
                    catalog_pb2.WatchTokensRequest(cursor=cursor)
                ):
                    self._hear(notice)
                    cursor = notice.cursor or cursor
            except grpc.aio.AioRpcError as error:
                _logger.info("changes of tokens are not heard of", code=error.code().name)
            self._is_heard = False
            self._known.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    def _hear(self, notice: catalog_pb2.WatchTokensResponse) -> None:
        self._heard += 1
        for change in notice.changes:
            if change.deleted:
                self._known.pop(change.token_id, None)
            elif change.token_id in self._known:
                self._known[change.token_id] = change.revision
        # Within a snapshot there is no cursor yet.
        self._is_heard = self._is_heard or bool(notice.cursor)

    async def use_asset(self, token_id: int, kind: AssetKind, object_key: str) -> int:
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
        self._known.pop(token_id, None)
        return token.revision

    async def has_asset(self, token_id: int, kind: AssetKind, object_key: str) -> bool:
        """Whether an object is the reference asset of a token now.

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
        known: int | None = self._known.get(token_id)
        if known is not None:
            return known
        heard = self._heard
        token = await self._token(token_id)
        # What is heard meanwhile may be newer than the answer.
        if self._is_heard and heard == self._heard:
            self._known[token_id] = token.revision
        return token.revision

    async def _token(self, token_id: int) -> catalog_pb2.Token:
        with _translated(
            {StatusCode.NOT_FOUND: TokenNotFound(token_id=token_id)}, otherwise=CatalogUnavailable()
        ):
            return await self._stub.GetToken(catalog_pb2.GetTokenRequest(id=token_id))


@dataclass(frozen=True)
class Attached:
    """A recording that came with the same request id before. sha256: 32 bytes."""

    job_id: UUID
    sha256: bytes


class AnalysisClient:
    """The jobs of recordings on their way."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)

    async def open(
        self,
        job_id: UUID,
        token_id: int,
        request_id: str = "",
        timeout: timedelta | None = None,
    ) -> Attached | None:
        """Open a job, or learn which recording the request id has brought already.

        timeout: how long it waits to hear of its recording. Errors: RequestIdReused,
        AnalysisUnavailable.
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
                )
            )
        if not answer.HasField("attached"):
            return None
        return Attached(UUID(answer.attached.job_id), answer.attached.sha256)

    async def start_upload(self, job_id: UUID, timeout: timedelta | None = None) -> None:
        """Tell that the recording is on its way; timeout: how long the job waits for more.

        Errors: JobEnded, UploadSuperseded, AnalysisUnavailable.
        """
        with _translated(_endings(job_id), otherwise=AnalysisUnavailable()):
            await self._stub.StartUpload(
                analysis_pb2.StartUploadRequest(
                    job_id=str(job_id), upload_timeout=_optional(timeout)
                )
            )

    async def attach(
        self, job_id: UUID, recording: StoredObject, file_name: str, token_revision: int
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


def _optional(span: timedelta | None) -> Duration | None:
    return None if span is None else duration_of(span)


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

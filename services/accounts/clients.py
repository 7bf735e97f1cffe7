"""Clients of the services that store what belongs to an account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import grpc

from services.accounts.errors import UploadUnavailable
from services.runtime.shared_errors import AnalysisUnavailable
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import upload_pb2, upload_pb2_grpc


@dataclass(frozen=True)
class Erased:
    """The result of one call that erases.

    count: how many were erased. has_more: whether the next call erases more. is_empty: whether
    nothing of the owner is stored any more.
    """

    count: int
    has_more: bool
    is_empty: bool


class OwnerClient(Protocol):
    """A service that stores what belongs to owners."""

    async def adopt(self, from_owner_id: str, to_owner_id: str) -> None:
        """Give everything of a guest to an account."""

    async def erase(self, owner_id: str) -> Erased:
        """Erase a limited number of things of an owner."""


class AnalysisOwnerClient:
    """Calls the AnalysisOwnerService. Errors of every method: AnalysisUnavailable."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = analysis_pb2_grpc.AnalysisOwnerServiceStub(channel)

    async def adopt(self, from_owner_id: str, to_owner_id: str) -> None:
        """Give all analyses of a guest to an account."""
        request = analysis_pb2.AdoptAnalysesRequest(
            from_owner_id=from_owner_id, to_owner_id=to_owner_id
        )
        try:
            await self._stub.AdoptAnalyses(request)
        except grpc.aio.AioRpcError as error:
            raise AnalysisUnavailable from error

    async def erase(self, owner_id: str) -> Erased:
        """Erase up to 1,000 analyses of an owner."""
        try:
            answer = await self._stub.EraseAnalyses(
                analysis_pb2.EraseAnalysesRequest(owner_id=owner_id)
            )
        except grpc.aio.AioRpcError as error:
            raise AnalysisUnavailable from error
        return _erased(answer)

    async def export(self, owner_id: str) -> AsyncIterator[analysis_pb2.ExportedAnalysis]:
        """Read the analyses of an owner, the newest first."""
        request = analysis_pb2.ExportAnalysesRequest(owner_id=owner_id)
        try:
            async for exported in self._stub.ExportAnalyses(request):
                yield exported
        except grpc.aio.AioRpcError as error:
            raise AnalysisUnavailable from error


class UploadOwnerClient:
    """Calls the UploadOwnerService. Errors of every method: UploadUnavailable."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = upload_pb2_grpc.UploadOwnerServiceStub(channel)

    async def adopt(self, from_owner_id: str, to_owner_id: str) -> None:
        """Give all uploads of a guest to an account."""
        request = upload_pb2.AdoptUploadsRequest(
            from_owner_id=from_owner_id, to_owner_id=to_owner_id
        )
        try:
            await self._stub.AdoptUploads(request)
        except grpc.aio.AioRpcError as error:
            raise UploadUnavailable from error

    async def erase(self, owner_id: str) -> Erased:
        """Cancel and erase up to 1,000 uploads of an owner."""
        try:
            answer = await self._stub.EraseUploads(
                upload_pb2.EraseUploadsRequest(owner_id=owner_id)
            )
        except grpc.aio.AioRpcError as error:
            raise UploadUnavailable from error
        return _erased(answer)


def _erased(
    answer: analysis_pb2.EraseAnalysesResponse | upload_pb2.EraseUploadsResponse,
) -> Erased:
    return Erased(answer.erased, answer.has_more, not answer.has_more and answer.pending == 0)

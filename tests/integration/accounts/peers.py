"""The other services as the accounts service sees them: what they store of each owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import Message

from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import upload_pb2, upload_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

BATCH = 2
"""How many things a call erases."""


class Stored:
    """What one service stores.

    owned: the number of things by owner. pending: how many erased things still have bytes.
    is_down: whether every call fails.
    """

    def __init__(self) -> None:
        self.owned: Counter[str] = Counter()
        self.pending = 0
        self.is_down = False
        self.calls: list[Message] = []

    async def received(self, request: Message, context: Context) -> None:
        """Note a call, or let it fail."""
        if self.is_down:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        self.calls.append(request)

    def adopt(self, from_owner_id: str, to_owner_id: str) -> int:
        """Move everything of an owner; returns how much."""
        moved = self.owned.pop(from_owner_id, 0)
        self.owned[to_owner_id] += moved
        return moved

    def erase(self, owner_id: str) -> dict[str, Any]:
        """Erase a batch; returns the fields of the response."""
        erased = min(BATCH, self.owned[owner_id])
        self.owned[owner_id] -= erased
        return {
            "erased": erased,
            "has_more": self.owned[owner_id] > 0,
            "pending": self.pending,
        }


class AnalysisOwner(analysis_pb2_grpc.AnalysisOwnerServiceServicer):
    """The AnalysisOwnerService of what is stored."""

    def __init__(self) -> None:
        self.stored = Stored()

    async def AdoptAnalyses(
        self, request: analysis_pb2.AdoptAnalysesRequest, context: Context
    ) -> analysis_pb2.AdoptAnalysesResponse:
        await self.stored.received(request, context)
        adopted = self.stored.adopt(request.from_owner_id, request.to_owner_id)
        return analysis_pb2.AdoptAnalysesResponse(adopted=adopted)

    async def EraseAnalyses(
        self, request: analysis_pb2.EraseAnalysesRequest, context: Context
    ) -> analysis_pb2.EraseAnalysesResponse:
        await self.stored.received(request, context)
        return analysis_pb2.EraseAnalysesResponse(**self.stored.erase(request.owner_id))

    async def ExportAnalyses(
        self, request: analysis_pb2.ExportAnalysesRequest, context: Context
    ) -> AsyncIterator[analysis_pb2.ExportedAnalysis]:
        await self.stored.received(request, context)
        for number in range(self.stored.owned[request.owner_id]):
            yield analysis_pb2.ExportedAnalysis(recording_url=f"https://s3/{number}")


class UploadOwner(upload_pb2_grpc.UploadOwnerServiceServicer):
    """The UploadOwnerService of what is stored."""

    def __init__(self) -> None:
        self.stored = Stored()

    async def AdoptUploads(
        self, request: upload_pb2.AdoptUploadsRequest, context: Context
    ) -> upload_pb2.AdoptUploadsResponse:
        await self.stored.received(request, context)
        adopted = self.stored.adopt(request.from_owner_id, request.to_owner_id)
        return upload_pb2.AdoptUploadsResponse(adopted=adopted)

    async def EraseUploads(
        self, request: upload_pb2.EraseUploadsRequest, context: Context
    ) -> upload_pb2.EraseUploadsResponse:
        await self.stored.received(request, context)
        return upload_pb2.EraseUploadsResponse(**self.stored.erase(request.owner_id))

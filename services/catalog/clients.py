"""What the catalog asks of other services."""

from __future__ import annotations

import grpc

from services.runtime.shared_errors import AnalysisUnavailable
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc


class AnalysisClient:
    """The analyses of tokens."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = analysis_pb2_grpc.AnalysisServiceStub(channel)

    async def has_analyses(self, token_id: int) -> bool:
        """Whether there are analyses of a token. Errors: AnalysisUnavailable."""
        request = analysis_pb2.ListAnalysesRequest(token_id=token_id, page_size=1)
        try:
            answer = await self._stub.ListAnalyses(request)
        except grpc.aio.AioRpcError as error:
            raise AnalysisUnavailable from error
        return bool(answer.analyses)

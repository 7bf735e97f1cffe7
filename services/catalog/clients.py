"""Clients of the services that the catalog calls."""

from __future__ import annotations

import grpc

from services.runtime.shared_errors import AnalysisUnavailable
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc


class AnalysisClient:
    """Calls the analysis service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = analysis_pb2_grpc.AnalysisServiceStub(channel)

    async def has_analyses(self, token_id: int) -> bool:
        """Whether a token has analyses. Errors: AnalysisUnavailable."""
        request = analysis_pb2.ListAnalysesRequest(token_id=token_id, page_size=1)
        try:
            response = await self._stub.ListAnalyses(request)
        except grpc.aio.AioRpcError as error:
            raise AnalysisUnavailable from error
        return bool(response.analyses)

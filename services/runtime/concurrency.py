"""A limit on the calls that a server handles at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from services.runtime.errors import TooManyCalls
from services.runtime.handlers import inside, is_own_method, with_behaviour
from services.runtime.interceptors import Context


class ConcurrencyLimit(grpc.aio.ServerInterceptor):
    """Refuses the calls above a number with TooManyCalls.

    gRPC's own `maximum_concurrent_rpcs` would refuse health checks too, so that a busy
    replica would lose all its calls, and its refusals have no reason.
    """

    def __init__(self, limit: int) -> None:
        """limit: of calls at the same time; 0 is unlimited. Health and reflection are exempt."""
        self._limit = limit
        self._running = 0

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Count the calls of a handler; it may be unary or streaming."""
        handler = await continuation(handler_call_details)
        if handler is None or not self._limit or is_own_method(handler_call_details.method):
            return handler
        has_stream = handler.response_streaming
        return with_behaviour(
            handler,
            lambda behaviour: inside(self._one_more, behaviour, has_response_stream=has_stream),
        )

    @asynccontextmanager
    async def _one_more(self, _request: Any, _context: Context) -> AsyncIterator[None]:
        if self._running >= self._limit:
            raise TooManyCalls(limit=self._limit)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

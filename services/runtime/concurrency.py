"""A limit on the calls that a server handles at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc

from services.runtime.errors import TooManyCalls
from services.runtime.interceptors import KINDS, Context, is_own_method


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
        handler: Any = await continuation(handler_call_details)
        if handler is None or not self._limit or is_own_method(handler_call_details.method):
            unlimited: grpc.RpcMethodHandler[Any, Any] | None = handler
            return unlimited
        kind = next(kind for kind in KINDS if getattr(handler, kind))
        count = self._counted_stream if handler.response_streaming else self._counted_unary
        counted: grpc.RpcMethodHandler[Any, Any] = handler._replace(
            **{kind: count(getattr(handler, kind))}
        )
        return counted

    def _counted_unary(self, behaviour: Any) -> Any:
        async def counted(request: Any, context: Context) -> Any:
            with self._one_more():
                return await behaviour(request, context)

        return counted

    def _counted_stream(self, behaviour: Any) -> Any:
        async def counted(request: Any, context: Context) -> AsyncIterator[Any]:
            with self._one_more():
                async with aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        yield response

        return counted

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        if self._running >= self._limit:
            raise TooManyCalls(limit=self._limit)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

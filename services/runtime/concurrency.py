"""A limit on the calls that a server handles at the same time."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc

from services.runtime.errors import TooManyCalls
from services.runtime.handlers import WrappedHandlers, inside, is_own_method, with_behaviour


class ConcurrencyLimit(grpc.aio.ServerInterceptor):
    """Refuses the calls above a number with TooManyCalls.

    gRPC's own `maximum_concurrent_rpcs` would refuse health checks too, so that a busy
    replica would lose all its calls, and its refusals have no reason.
    """

    def __init__(self, limit: int) -> None:
        """limit: of calls at the same time; 0 is unlimited. Health and reflection are exempt."""
        self._limit = limit
        self._running = 0
        self._wrapped = WrappedHandlers(self._counted)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Count the calls of a handler; it may be unary or streaming."""
        handler = await continuation(handler_call_details)
        return handler and self._wrapped.of(handler_call_details.method, handler)

    def _counted(self, method: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        if not self._limit or is_own_method(method):
            return cast("grpc.RpcMethodHandler[Any, Any]", handler)
        return with_behaviour(
            handler,
            lambda behaviour: inside(
                lambda *_: self, behaviour, yields=inspect.isasyncgenfunction(behaviour)
            ),
        )

    async def __aenter__(self) -> None:
        """Count a call while it runs. Errors: TooManyCalls."""
        if self._running >= self._limit:
            raise TooManyCalls(limit=self._limit)
        self._running += 1

    async def __aexit__(self, *_: object) -> None:
        self._running -= 1

"""Wrapping the handlers of rpcs, unary and streaming ones alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

_Context = grpc.aio.ServicerContext[Any, Any]

Behaviour = Any
"""The function of a handler; its kind decides whether it returns a response or a stream."""

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def is_own_method(method: str) -> bool:
    """Whether a method belongs to gRPC itself: health or reflection."""
    return method.startswith("/grpc.")


def with_behaviour(
    handler: Any, wrap: Callable[[Behaviour], Behaviour], **changes: Any
) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler with its behaviour wrapped. changes: further fields to replace."""
    kind = next(kind for kind in _KINDS if getattr(handler, kind))
    wrapped: grpc.RpcMethodHandler[Any, Any] = handler._replace(
        **{kind: wrap(getattr(handler, kind))}, **changes
    )
    return wrapped


class WrappedHandlers:
    """The handlers of a server, each wrapped once instead of once for each call."""

    def __init__(self, wrap: Callable[[str, Any], grpc.RpcMethodHandler[Any, Any]]) -> None:
        """wrap: gets the full name of a method and its handler."""
        self._wrap = wrap
        self._known: dict[str, tuple[Any, grpc.RpcMethodHandler[Any, Any]]] = {}

    def of(self, method: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        """The wrapped handler of a method."""
        known = self._known.get(method)
        if known is None or known[0] is not handler:
            known = self._known[method] = (handler, self._wrap(method, handler))
        return known[1]


def inside(
    open_scope: Callable[[Any, _Context], AbstractAsyncContextManager[None]],
    behaviour: Behaviour,
    *,
    yields: bool,
) -> Behaviour:
    """The behaviour, each call of which runs inside `open_scope(request, context)`.

    yields: whether it yields its responses. Then the result is a coroutine that writes them to
        the context: it needs less memory than a generator, and ends as soon as the call does.
        Other behaviours return one response, or write responses to the context themselves.
    """

    async def awaited(request: Any, context: _Context) -> Any:
        async with open_scope(request, context):
            return await behaviour(request, context)

    async def written(request: Any, context: _Context) -> None:
        async with open_scope(request, context):
            responses = behaviour(request, context)
            try:
                async for response in responses:
                    await context.write(response)
            finally:
                await responses.aclose()

    return written if yields else awaited

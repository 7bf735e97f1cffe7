"""One call through a server: its context, its log line, its errors, its deadline.

`CallInterceptor` goes around every rpc: it binds the request id to the logs,
turns exceptions into statuses of the catalogue and writes one line a call.
`OutgoingInterceptor` hands request id and deadline on to the next service.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import grpc
import structlog
from grpc_status import rpc_status
from uuid_utils.compat import uuid7

from services.runtime.errors import InternalError, SoriError, status_details
from services.runtime.language import Language, preferred_language

Context = grpc.aio.ServicerContext[Any, Any]

REQUEST_ID = "x-request-id"
HTTP_STATUS = "x-http-code"
DEFAULT_TIMEOUT_SECONDS = 10.0
DRAIN_MESSAGES = 16
DRAIN_SECONDS = 1.0

_logger = structlog.get_logger(__name__)
_request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)


def call_language(context: Context) -> Language:
    """The language that the caller asks for."""
    return preferred_language(call_metadata(context).get("accept-language"))


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Goes around every rpc of a server."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler that serves the call, whatever its kind."""
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        # Health and reflection are gRPC's own and speak for themselves.
        if handler is None or method.startswith("/grpc."):
            own: grpc.RpcMethodHandler[Any, Any] | None = handler
            return own
        kind = next(kind for kind in _KINDS if getattr(handler, kind))
        guard = _guard_stream if handler.response_streaming else _guard_unary
        guarded = guard(getattr(handler, kind), method, handler.request_streaming)
        wrapped: grpc.RpcMethodHandler[Any, Any] = handler._replace(**{kind: guarded})
        return wrapped


_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def _guard_unary(behaviour: Any, method: str, streams_in: bool) -> Any:
    async def guarded(request: Any, context: Context) -> Any:
        async with _call(method, context, request if streams_in else None):
            return await behaviour(request, context)

    return guarded


def _guard_stream(behaviour: Any, method: str, streams_in: bool) -> Any:
    async def guarded(request: Any, context: Context) -> AsyncIterator[Any]:
        async with (
            _call(method, context, request if streams_in else None),
            aclosing(behaviour(request, context)) as responses,
        ):
            async for response in responses:
                yield response

    return guarded


@asynccontextmanager
async def _call(
    method: str, context: Context, requests: AsyncIterator[Any] | None
) -> AsyncIterator[None]:
    request_id = _accepted_request_id(call_metadata(context).get(REQUEST_ID))
    _request_id.set(request_id)
    # The stubs do not say that it is None for a call without a deadline.
    remaining = cast("float | None", context.time_remaining())
    _deadline.set(None if remaining is None else time.monotonic() + remaining)
    structlog.contextvars.bind_contextvars(request_id=request_id)
    started = time.perf_counter()
    outcome = "CANCELLED"
    try:
        yield
        outcome = "OK"
    except SoriError as error:
        outcome = error.reason
        await _abort(context, error, requests)
    except Exception:
        outcome = InternalError.reason
        _logger.exception("call failed unexpectedly", method=method)
        await _abort(context, InternalError(request_id=request_id), requests)
    finally:
        elapsed = round((time.perf_counter() - started) * 1000, 1)
        _logger.info("call", method=method, outcome=outcome, duration_ms=elapsed)


async def _abort(context: Context, error: SoriError, requests: AsyncIterator[Any] | None) -> None:
    if requests is not None:
        await _drain(requests)
    status: Any = rpc_status.to_status(status_details(error, call_language(context)))
    if error.http_status is not None:
        status = status._replace(
            trailing_metadata=(*status.trailing_metadata, (HTTP_STATUS, str(error.http_status)))
        )
    await context.abort_with_status(status)


async def _drain(requests: AsyncIterator[Any]) -> None:
    """Read a bounded rest, so that the status reaches a caller still sending."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            for _ in range(DRAIN_MESSAGES):
                await anext(requests)
    except (StopAsyncIteration, TimeoutError, grpc.RpcError):
        return


def _accepted_request_id(offered: str | None) -> str:
    if offered and re.fullmatch(r"[A-Za-z0-9-]{1,64}", offered):
        return offered
    return str(uuid7())


def call_metadata(context: Context) -> dict[str, str]:
    """The call's metadata, which are an HTTP request's headers, without binary ones."""
    return {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }


class OutgoingInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Hands the request id on, and no more time than the caller has left."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Send the call with what the incoming one says."""
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        if request_id := _request_id.get():
            metadata.add(REQUEST_ID, request_id)
        details = grpc.aio.ClientCallDetails(
            client_call_details.method,
            _timeout(client_call_details.timeout),
            metadata,
            client_call_details.credentials,
            client_call_details.wait_for_ready,
        )
        return await continuation(details, request)


def _timeout(own: float | None) -> float:
    deadline = _deadline.get()
    limit = own if own is not None else DEFAULT_TIMEOUT_SECONDS
    return limit if deadline is None else max(0.0, min(limit, deadline - time.monotonic()))

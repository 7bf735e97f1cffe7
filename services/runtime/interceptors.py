"""Code around every rpc: request id, deadline, log line, errors.

`CallInterceptor` wraps every rpc of a server: it binds the request id to the logs,
parses the requests, translates exceptions into statuses and logs one line per call.
`OutgoingInterceptor` passes request id and deadline to the next service.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self, cast

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from uuid_utils.compat import uuid7

from services.runtime.errors import InternalError, RequestMalformed, SoriError, status_details
from services.runtime.handlers import inside, is_own_method, with_behaviour
from services.runtime.http_conditions import (
    apply_if_match,
    etag_header,
    failed_precondition,
)
from services.runtime.language import Language, preferred_language

Context = grpc.aio.ServicerContext[Any, Any]

REQUEST_ID = "x-request-id"
HTTP_STATUS = "x-http-code"
RETRY_AFTER = "retry-after"
DEFAULT_TIMEOUT_SECONDS = 10.0
DRAIN_MESSAGES = 16
DRAIN_SECONDS = 1.0

_logger = structlog.get_logger(__name__)
_request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)


def call_language(context: Context) -> Language:
    """The language that the caller prefers."""
    return preferred_language(call_metadata(context).get("accept-language"))


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every rpc of a server."""

    def __init__(self, deserializers: Mapping[str, Callable[[bytes], Any]] | None = None) -> None:
        """deserializers: of the requests of a stream after the first, by method.

        default: those of protobuf.
        """
        self._deserializers = deserializers or {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of the call; it may be unary or streaming."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        later = self._deserializers.get(method, handler.request_deserializer)
        # Without a deserializer, gRPC passes on bytes. If gRPC itself fails to parse a request,
        # the caller gets UNKNOWN and the text of Python's exception.
        return with_behaviour(
            handler,
            lambda behaviour: _guarded(behaviour, handler, method, later),
            request_deserializer=None,
        )


# The only streaming rpc that is not a generator: it writes its responses to the context.
_HEALTH_WATCH = "/grpc.health.v1.Health/Watch"


def _guarded(
    behaviour: Any, handler: Any, method: str, deserialize_later: Callable[[bytes], Any]
) -> Any:
    """The behaviour of a handler, with everything that surrounds a call.

    deserialize_later: for the requests of a stream after the first.
    """
    if not handler.request_streaming and not handler.response_streaming:
        behaviour = _conditional(behaviour)
    behaviour = _parsing(behaviour, handler, deserialize_later)
    if method == _HEALTH_WATCH:
        return _guard_writer(behaviour)

    def open_call(request: Any, context: Context) -> AbstractAsyncContextManager[None]:
        return _call(method, context, request if handler.request_streaming else None)

    return inside(open_call, behaviour, has_response_stream=handler.response_streaming)


def _conditional(behaviour: Any) -> Any:
    """A behaviour with `If-Match` and `ETag` for calls that came over HTTP."""

    async def conditional(request: Any, context: Context) -> Any:
        metadata = call_metadata(context)
        apply_if_match(request, metadata)
        response = await behaviour(request, context)
        if header := etag_header(response, metadata):
            await context.send_initial_metadata(header)
        return response

    return conditional


def _parsing(behaviour: Any, handler: Any, deserialize_later: Callable[[bytes], Any]) -> Any:
    """The behaviour of a handler, called with the bytes of its requests."""
    parse = _parser(handler.request_deserializer)
    if handler.request_streaming:
        later = _parser(deserialize_later)
        return lambda requests, context: behaviour(_ParsedRequests(requests, parse, later), context)
    return lambda request, context: behaviour(parse(request), context)


def _parser(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parse(request: bytes) -> Any:
        try:
            return deserialize(request)
        except DecodeError as error:
            raise RequestMalformed from error

    return parse


class _ParsedRequests:
    """The messages of a request stream, each parsed when it is read."""

    def __init__(
        self,
        requests: AsyncIterator[bytes],
        parse_first: Callable[[bytes], Any],
        parse_later: Callable[[bytes], Any],
    ) -> None:
        self._requests = requests
        self._parse = parse_first
        self._parse_later = parse_later

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        request = await anext(self._requests)
        parse, self._parse = self._parse, self._parse_later
        return parse(request)


def _guard_writer(behaviour: Any) -> Any:
    async def guarded(request: Any, context: Context) -> None:
        try:
            await behaviour(request, context)
        except SoriError as error:
            await _abort(context, error, None)

    return guarded


@asynccontextmanager
async def _call(
    method: str, context: Context, requests: AsyncIterator[Any] | None
) -> AsyncIterator[None]:
    request_id = _valid_request_id(call_metadata(context).get(REQUEST_ID))
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
    except grpc.aio.AbortError:
        # gRPC's own services abort calls themselves.
        outcome = "ABORTED"
        raise
    except SoriError as error:
        outcome = error.reason
        await _abort(context, error, requests)
    except Exception:
        outcome = InternalError.reason
        _logger.exception("call failed unexpectedly", method=method)
        await _abort(context, InternalError(request_id=request_id), requests)
    finally:
        elapsed = round((time.perf_counter() - started) * 1000, 1)
        # Probes check the health every second.
        if not is_own_method(method):
            _logger.info("call", method=method, outcome=outcome, duration_ms=elapsed)


async def _abort(context: Context, error: SoriError, requests: AsyncIterator[Any] | None) -> None:
    if requests is not None:
        await _drain(requests)
    status: Any = rpc_status.to_status(status_details(error, call_language(context)))
    http_status = failed_precondition(error.reason, call_metadata(context)) or error.http_status
    if http_status is not None:
        status = status._replace(
            trailing_metadata=(*status.trailing_metadata, (HTTP_STATUS, str(http_status)))
        )
    if error.retry_seconds is not None:
        status = status._replace(
            trailing_metadata=(*status.trailing_metadata, (RETRY_AFTER, str(error.retry_seconds)))
        )
    await context.abort_with_status(status)


async def _drain(requests: AsyncIterator[Any]) -> None:
    """Read a bounded number of messages, so that the status reaches a caller that still sends."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            for _ in range(DRAIN_MESSAGES):
                await anext(requests)
    except (StopAsyncIteration, TimeoutError, grpc.RpcError):
        return


def _valid_request_id(received: str | None) -> str:
    if received and re.fullmatch(r"[A-Za-z0-9-]{1,64}", received):
        return received
    return str(uuid7())


def call_metadata(context: Context) -> dict[str, str]:
    """The call's metadata without binary values; for HTTP clients, these are the headers."""
    return {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }


class OutgoingInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Passes on the request id, and the time that the caller has left as the timeout."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Send a call with the request id and the deadline of the incoming one."""
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

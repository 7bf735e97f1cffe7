"""Code around every rpc: request id, deadline, log line, errors.

`CallInterceptor` wraps every rpc of a server: it binds the request id to the logs,
parses the requests, translates exceptions into statuses and logs one line per call.
`OutgoingInterceptor` passes request id and deadline to the next service.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from uuid_utils import uuid7

from services.runtime.errors import InternalError, RequestMalformed, SoriError, status_details
from services.runtime.handlers import WrappedHandlers, inside, is_own_method, with_behaviour
from services.runtime.http_conditions import (
    apply_if_match,
    etag_header,
    failed_precondition,
)
from services.runtime.language import Language, preferred_language
from services.runtime.serialized import accepting_serialized

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
_metadata: contextvars.ContextVar[tuple[Context, Mapping[str, str]] | None] = (
    contextvars.ContextVar("metadata", default=None)
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


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
        self._wrapped = WrappedHandlers(self._wrap)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of the call; it may be unary or streaming."""
        handler = await continuation(handler_call_details)
        return handler and self._wrapped.of(handler_call_details.method, handler)

    def _wrap(self, method: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        later = self._deserializers.get(method, handler.request_deserializer)
        # Without a deserializer, gRPC passes on bytes. If gRPC itself fails to parse a request,
        # the caller gets UNKNOWN and the text of Python's exception.
        return with_behaviour(
            handler,
            lambda behaviour: _guarded(behaviour, handler, method, later),
            request_deserializer=None,
            response_serializer=accepting_serialized(handler.response_serializer),
        )


def _guarded(
    behaviour: Any, handler: Any, method: str, deserialize_later: Callable[[bytes], Any]
) -> Any:
    """The behaviour of a handler, with everything that surrounds a call.

    deserialize_later: for the requests of a stream after the first.
    """
    if not handler.request_streaming and not handler.response_streaming:
        behaviour = _conditional(behaviour)
    # Probes check the health every second.
    kind = _CallKind(
        method,
        has_request_stream=handler.request_streaming,
        has_response_stream=handler.response_streaming,
        is_logged=not is_own_method(method),
    )
    return inside(
        lambda request, context: _Call(kind, request, context),
        _parsing(behaviour, handler, deserialize_later),
        yields=inspect.isasyncgenfunction(behaviour),
    )


def _conditional(behaviour: Any) -> Any:
    """A behaviour with `If-Match` and `ETag` for calls that came over HTTP."""

    async def conditional(request: Any, context: Context) -> Any:
        metadata = call_metadata(context)
        apply_if_match(request, metadata)
        response = await behaviour(request, context)
        if header := etag_header(response, metadata):
            # An rpc that has sent headers itself, such as a redirect, has no etag.
            with suppress(grpc.aio.UsageError):
                await context.send_initial_metadata(header)
        return response

    return conditional


def _parsing(behaviour: Any, handler: Any, deserialize_later: Callable[[bytes], Any]) -> Any:
    """The behaviour of a handler, called with the bytes of its requests."""
    parse = _parser(handler.request_deserializer)
    if handler.request_streaming:
        later = _parser(deserialize_later)
        parse = partial(_ParsedRequests, parse_first=parse, parse_later=later)

    def parsing(request: Any, context: Context) -> Any:
        return behaviour(parse(request), context)

    return parsing


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


@dataclass(frozen=True, slots=True)
class _CallKind:
    """What all calls of a method have in common."""

    method: str
    has_request_stream: bool
    has_response_stream: bool
    is_logged: bool


class _Call:
    """The scope of one call: its request id and deadline, its errors, its log line."""

    __slots__ = ("_context", "_kind", "_request", "_request_id", "_started")

    def __init__(self, kind: _CallKind, request: Any, context: Context) -> None:
        self._kind = kind
        self._request = request
        self._context = context

    async def __aenter__(self) -> None:
        metadata = _metadata_of(self._context)
        # A stream may last for hours, and reads its metadata only when it begins.
        if not self._kind.has_response_stream:
            _metadata.set((self._context, metadata))
        self._request_id = _valid_request_id(metadata.get(REQUEST_ID))
        _request_id.set(self._request_id)
        # The stubs do not say that it is None for a call without a deadline.
        remaining = cast("float | None", self._context.time_remaining())
        _deadline.set(None if remaining is None else time.monotonic() + remaining)
        structlog.contextvars.bind_contextvars(request_id=self._request_id)
        self._started = time.perf_counter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            # gRPC's own services abort calls themselves.
            if isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                await self._abort(error)
        finally:
            self._log(error)

    async def _abort(self, error: Exception) -> None:
        if not isinstance(error, SoriError):
            method = self._kind.method
            _logger.error("call failed unexpectedly", method=method, exc_info=error)
            error = InternalError(request_id=self._request_id)
        await _abort(self._context, error, self._request if self._kind.has_request_stream else None)

    def _log(self, error: BaseException | None) -> None:
        if self._kind.is_logged:
            elapsed = round((time.perf_counter() - self._started) * 1000, 1)
            _logger.info(
                "call", method=self._kind.method, outcome=_outcome(error), duration_ms=elapsed
            )


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "OK"
    if isinstance(error, SoriError):
        return error.reason
    if isinstance(error, grpc.aio.AbortError):
        return "ABORTED"
    return InternalError.reason if isinstance(error, Exception) else "CANCELLED"


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
    return received if received and _REQUEST_ID.fullmatch(received) else str(uuid7())


def call_metadata(context: Context) -> Mapping[str, str]:
    """The call's metadata without binary values; for HTTP clients, these are the headers."""
    known = _metadata.get()
    return known[1] if known and known[0] is context else _metadata_of(context)


def _metadata_of(context: Context) -> dict[str, str]:
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

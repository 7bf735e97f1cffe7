"""Callers of the gateway: the headers that they send, over HTTP and gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import httpx

from tests.integration.gateway.issuer import Key, bearer, claims

GUEST = "g" * 43
"""The secret of a guest."""

_DENIED = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
}


def headers_of(caller: str, key: Key) -> dict[str, str]:
    """caller: nobody, guest, learner, editor or operator."""
    if caller == "nobody":
        return {}
    if caller == "guest":
        return {"x-guest-token": GUEST}
    roles = {"learner": [], "editor": ["catalog_editor"], "operator": ["operator"]}[caller]
    return bearer(key.signed(claims(*roles)))


def status_of(code: grpc.StatusCode) -> int:
    """The HTTP status of an access check; 200 for calls that reach a service."""
    return _DENIED.get(code, 200)


def call(
    channel: grpc.Channel, rpc: str, headers: dict[str, str], request: bytes = b""
) -> grpc.StatusCode:
    """The status of an rpc with one message, whether it streams or not."""
    # A stream, so that no number of responses is an error.
    stub: Any = channel.unary_stream(rpc)
    responses = stub(request, metadata=tuple(headers.items()), timeout=20)
    try:
        for _ in responses:
            pass
    except grpc.RpcError:
        pass
    code: grpc.StatusCode = responses.code()
    return code


def message_frame(message: bytes) -> bytes:
    """A message of gRPC-Web."""
    return b"\0" + len(message).to_bytes(4) + message


def grpc_web(
    client: httpx.Client, rpc: str, headers: dict[str, str], request: bytes = b""
) -> tuple[str, bytes]:
    """The gRPC status of a call by gRPC-Web, and the body."""
    sent = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", **headers}
    answer = client.post(rpc, content=message_frame(request), headers=sent)
    status = answer.headers.get("grpc-status")
    if status is None:
        # In the trailers, which are the last frame.
        status = answer.content.rpartition(b"grpc-status:")[2].split(b"\r")[0].decode()
    return status, answer.content


def connect(
    client: httpx.Client, rpc: str, headers: dict[str, str], request: bytes = b""
) -> httpx.Response:
    """The response to a unary call by Connect."""
    sent = {"content-type": "application/proto", "connect-protocol-version": "1", **headers}
    return client.post(rpc, content=request, headers=sent)

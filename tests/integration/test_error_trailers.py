"""Errors reach gRPC clients, however many fields a request has wrong."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.runtime.errors import MAX_VIOLATIONS, FieldViolation, InvalidField
from services.runtime.interceptors import CallInterceptor


async def refuse(request: Empty, context: Any) -> Empty:
    raise InvalidField(*[FieldViolation("가" * 10_000, "나" * 10_000)] * 1_000)


async def test_an_error_with_many_long_violations_reaches_a_client() -> None:
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    handler = grpc.unary_unary_rpc_method_handler(refuse, Empty.FromString, Empty.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"R": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            rpc = channel.unary_unary("/t.T/R", Empty.SerializeToString, Empty.FromString)
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await rpc(Empty())
    finally:
        await server.stop(0)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status: Any = rpc_status.from_call(failure.value)  # type: ignore[arg-type]
    request = error_details_pb2.BadRequest()
    assert status.details[2].Unpack(request)
    assert len(request.field_violations) == MAX_VIOLATIONS

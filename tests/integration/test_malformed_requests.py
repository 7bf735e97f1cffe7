"""Requests whose bytes are not protobuf, or whose text is not UTF-8, are errors of the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2_grpc
from grpc_status import rpc_status

from services.registry import SERVICES
from services.runtime.interceptors import CallInterceptor
from services.runtime.reflection import V1, V1ALPHA, enable_reflection
from sori.accounts.v1 import accounts_pb2_grpc
from sori.analysis.v1 import analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2_grpc
from sori.upload.v1 import tus_pb2_grpc, upload_pb2, upload_pb2_grpc

# Field 1 announces 127 bytes that do not follow.
TRUNCATED = b"\x0a\x7f"
NOT_PROTOBUF = bytes(range(255, 0, -1))
INTERNALS = ("DecodeError", "sori.", "Exception", "Traceback", "protobuf/")


def rpcs() -> list[MethodDescriptor]:
    pool = descriptor_pool.Default()
    names = [name for service in SERVICES for name in service.proto_services]
    return [
        method
        for name in (*names, health.SERVICE_NAME)
        for method in pool.FindServiceByName(name).methods
    ]


class Uploads(upload_pb2_grpc.UploadServiceServicer):
    """Reads all messages of a stream."""

    async def UploadAudio(
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> upload_pb2.UploadAudioResponse:
        chunks = [request.chunk async for request in request_iterator]
        return upload_pb2.UploadAudioResponse(message=str(len(chunks)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    """A channel to all rpcs of the contract, most of which are not implemented."""
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    catalog_pb2_grpc.add_CatalogServiceServicer_to_server(
        catalog_pb2_grpc.CatalogServiceServicer(),  # type: ignore[abstract]
        server,
    )
    analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(
        analysis_pb2_grpc.AnalysisServiceServicer(),  # type: ignore[abstract]
        server,
    )
    analysis_pb2_grpc.add_AnalysisIntakeServiceServicer_to_server(
        analysis_pb2_grpc.AnalysisIntakeServiceServicer(),  # type: ignore[abstract]
        server,
    )
    upload_pb2_grpc.add_UploadServiceServicer_to_server(
        Uploads(),  # type: ignore[abstract]
        server,
    )
    tus_pb2_grpc.add_TusServiceServicer_to_server(
        tus_pb2_grpc.TusServiceServicer(),  # type: ignore[abstract]
        server,
    )
    accounts_pb2_grpc.add_AccountServiceServicer_to_server(
        accounts_pb2_grpc.AccountServiceServicer(),  # type: ignore[abstract]
        server,
    )
    accounts_pb2_grpc.add_AccountAdminServiceServicer_to_server(
        accounts_pb2_grpc.AccountAdminServiceServicer(),  # type: ignore[abstract]
        server,
    )
    accounts_pb2_grpc.add_AccountPictureServiceServicer_to_server(
        accounts_pb2_grpc.AccountPictureServiceServicer(),  # type: ignore[abstract]
        server,
    )
    analysis_pb2_grpc.add_AnalysisOwnerServiceServicer_to_server(
        analysis_pb2_grpc.AnalysisOwnerServiceServicer(),  # type: ignore[abstract]
        server,
    )
    upload_pb2_grpc.add_UploadOwnerServiceServicer_to_server(
        upload_pb2_grpc.UploadOwnerServiceServicer(),  # type: ignore[abstract]
        server,
    )
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    enable_reflection(server, [health.SERVICE_NAME])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


Channel = Any  # Its stubs don't accept bytes.


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    """The error of a call, which must be REQUEST_MALFORMED without internals."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "REQUEST_MALFORMED"
    assert not [word for word in INTERNALS if word in str(status)]
    return error


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("content", [TRUNCATED, NOT_PROTOBUF], ids=["truncated", "not protobuf"])
@pytest.mark.parametrize(
    "method",
    [rpc for rpc in rpcs() if not rpc.client_streaming],
    ids=lambda rpc: rpc.name,
)
async def test_a_malformed_request_is_refused(
    channel: Channel, method: MethodDescriptor, content: bytes
) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.server_streaming:
        await refusal(anext(aiter(channel.unary_stream(path)(content))))
    else:
        await refusal(channel.unary_unary(path)(content))


@pytest.mark.asyncio(loop_scope="module")
async def test_text_that_is_not_utf_8_is_refused(channel: Channel) -> None:
    korean = "수지".encode("euc-kr")
    search = channel.unary_unary("/sori.catalog.v1.CatalogService/SearchActors")
    error = await refusal(search(b"\x0a" + bytes([len(korean)]) + korean))
    assert "percent-encode" in (error.details() or "")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("position", range(3))
async def test_a_malformed_message_of_a_stream_is_refused(channel: Channel, position: int) -> None:
    messages = [upload_pb2.UploadAudioRequest(chunk=b"x").SerializeToString()] * 3
    messages[position] = TRUNCATED
    upload = channel.stream_unary("/sori.upload.v1.UploadService/UploadAudio")
    await refusal(upload(iter(messages)))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("service", [V1, V1ALPHA])
async def test_a_malformed_request_of_reflection_is_refused(channel: Channel, service: str) -> None:
    reflect = channel.stream_stream(f"/{service}/ServerReflectionInfo")
    await refusal(anext(aiter(reflect(iter([TRUNCATED])))))


@pytest.mark.asyncio(loop_scope="module")
async def test_well_formed_messages_of_a_stream_are_parsed(channel: Channel) -> None:
    stub: Any = upload_pb2_grpc.UploadServiceStub(channel)
    chunks = [upload_pb2.UploadAudioRequest(chunk=b"x")] * 3
    assert (await stub.UploadAudio(iter(chunks))).message == "3"

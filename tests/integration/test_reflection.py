"""Generic clients such as grpcurl find every public rpc by reflection, and nothing internal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection_pb2 as pb

from services.registry import ANALYSIS, SERVICES
from services.runtime.reflection import V1, V1ALPHA, enable_reflection
from sori.accounts.v1 import accounts_pb2  # noqa: F401
from sori.analysis.v1 import analysis_pb2  # noqa: F401
from sori.catalog.v1 import catalog_pb2  # noqa: F401
from sori.upload.v1 import tus_pb2, upload_pb2  # noqa: F401

GRPCURL = Path(sys.executable).with_name("grpcurl")
PUBLIC = [name for service in SERVICES for name in service.public]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address() -> AsyncIterator[str]:
    server = grpc.aio.server()
    enable_reflection(server, [*PUBLIC, health.SERVICE_NAME])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def ask(address: str, version: str = V1, **question: Any) -> pb.ServerReflectionResponse:
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.stream_stream(
            f"/{version}/ServerReflectionInfo",
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )
        return await anext(aiter(call(iter([pb.ServerReflectionRequest(**question)]))))


def names_of(answer: pb.ServerReflectionResponse) -> set[str]:
    """The names of all files of an answer."""
    files = answer.file_descriptor_response.file_descriptor_proto
    return {FileDescriptorProto.FromString(file).name for file in files}


async def grpcurl(address: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(str(GRPCURL), "-plaintext", address, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed
    return printed.decode()


@pytest.mark.parametrize("version", [V1, V1ALPHA])
async def test_both_versions_list_the_services(address: str, version: str) -> None:
    answer = await ask(address, version, list_services="")
    listed = {service.name for service in answer.list_services_response.service}
    assert listed == {*PUBLIC, health.SERVICE_NAME, V1, V1ALPHA}


@pytest.mark.parametrize("name", [*PUBLIC, health.SERVICE_NAME, V1, V1ALPHA])
async def test_grpcurl_describes_every_listed_service(address: str, name: str) -> None:
    assert f"{name} is a service" in await grpcurl(address, "describe", name)


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("sori.catalog.v1.CatalogService.GetToken", "method"),
        ("sori.upload.v1.UploadService.UploadAudioForm", "method"),
        ("sori.upload.v1.TusService.WriteTusUpload", "method"),
        ("sori.analysis.v1.AnalysisService.WatchAnalysis", "method"),
        ("sori.catalog.v1.Token", "message"),
        ("sori.catalog.v1.Token.name", "field"),
        ("sori.upload.v1.AssetKind", "enum"),
        ("google.api.HttpBody", "message"),
        ("google.api.http", "extension"),
    ],
)
async def test_grpcurl_describes_a_symbol(address: str, symbol: str, kind: str) -> None:
    described = await grpcurl(address, "describe", symbol)
    assert f"{symbol} is a" in described
    assert kind in described


async def test_grpcurl_shows_the_http_route_of_a_method(address: str) -> None:
    described = await grpcurl(address, "describe", "sori.catalog.v1.CatalogService.GetToken")
    assert 'get:"/tokens/{id}"' in described


async def test_a_method_comes_with_the_files_of_its_annotations(address: str) -> None:
    symbol = "sori.catalog.v1.CatalogService.GetToken"
    names = names_of(await ask(address, file_containing_symbol=symbol))
    assert {"google/api/annotations.proto", "google/api/http.proto"} <= names


async def test_extensions_are_found_by_number(address: str) -> None:
    extended = "google.protobuf.MethodOptions"
    numbers = await ask(address, all_extension_numbers_of_type=extended)
    assert 72295728 in numbers.all_extension_numbers_response.extension_number
    wanted = pb.ExtensionRequest(containing_type=extended, extension_number=72295728)
    found = await ask(address, file_containing_extension=wanted)
    assert "google/api/annotations.proto" in names_of(found)


@pytest.mark.parametrize(
    "symbol",
    [
        *ANALYSIS.internal,
        f"{ANALYSIS.internal[0]}.OpenAnalysis",
        "sori.analysis.v1.OpenAnalysisRequest",
        "sori.nothing",
        "",
    ],
)
async def test_internal_and_unknown_symbols_are_not_found(address: str, symbol: str) -> None:
    answer = await ask(address, file_containing_symbol=symbol)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_files_do_not_show_internal_schemas(address: str) -> None:
    answer = await ask(address, file_by_filename="sori/analysis/v1/analysis.proto")
    shown = b"".join(answer.file_descriptor_response.file_descriptor_proto)
    assert b"GetAnalysisResult" in shown
    assert b"OpenAnalysis" not in shown
    assert b"AnalysisIntakeService" not in shown


async def test_an_empty_question_is_invalid(address: str) -> None:
    answer = await ask(address)
    assert answer.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]

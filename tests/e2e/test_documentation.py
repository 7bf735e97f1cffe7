"""The HTTP surface and the gRPC services document themselves."""

from __future__ import annotations

import re
import shutil
import subprocess

import grpc
import httpx
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from services.registry import SERVICES
from services.version import product_version
from stack.stack import Stack

BROWSER = shutil.which("chromium")


def test_the_openapi_document_has_every_path(gateway: httpx.Client) -> None:
    answer = gateway.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["info"]["version"] == product_version()
    paths = answer.json()["paths"]
    assert {
        "/actors",
        "/tokens/{id}",
        "/scripts/{id}",
        "/tokens/{token_id}/upload-audio",
        "/tokens/{token_id}/reference-assets/{kind}",
        "/tokens/analysis-progress/{job_id}",
        "/analyses/{job_id}:cancel",
    } <= set(paths)


def test_a_page_shows_it_with_files_of_the_gateway_only(gateway: httpx.Client) -> None:
    page = gateway.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert files
    for file in files:
        assert file.startswith("docs/")
        assert gateway.get(file).status_code == 200


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium on the PATH")
def test_the_page_shows_every_call_in_a_browser(gateway: httpx.Client) -> None:
    assert BROWSER is not None
    page = subprocess.run(
        [
            BROWSER,
            *("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"),
            *("--dump-dom", str(gateway.base_url.join("/docs"))),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    shown = set(re.findall(r'data-path="([^"]+)"', page.stdout))
    assert shown == set(gateway.get("/openapi.json").json()["paths"])


def test_no_other_page_is_served(gateway: httpx.Client) -> None:
    for path in ("/docs/", "/docs/other.js", "/docs/../openapi.yaml", "/openapi.yaml"):
        assert gateway.get(path).status_code == 404


def test_reflection_describes_every_public_service(stack: Stack) -> None:
    public = {name for service in SERVICES for name in service.public}
    with grpc.insecure_channel(stack.gateway_address) as channel:
        reflection = ProtoReflectionDescriptorDatabase(channel)
        assert public <= set(reflection.get_services())
        for name in public:
            assert reflection.FindFileContainingSymbol(name).package == name.rpartition(".")[0]

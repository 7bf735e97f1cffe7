"""Pages call the public rpcs by gRPC-Web and by Connect through the gateway, in Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from google.protobuf import descriptor_pool

from services.registry import SERVICES
from sori.analysis.v1 import analysis_pb2  # noqa: F401
from sori.catalog.v1 import catalog_pb2  # noqa: F401
from sori.upload.v1 import tus_pb2, upload_pb2  # noqa: F401

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "js"
NODE = shutil.which("node")
BROWSER = shutil.which("chromium")
PUBLIC = [name for service in SERVICES for name in service.public]
# Requests with content; those of the other rpcs are empty.
REQUESTS = {
    "sori.catalog.v1.CatalogService/GetToken": {"id": 1},
    "sori.catalog.v1.CatalogService/GetActor": {"id": 2_000_000_000},
    "sori.catalog.v1.CatalogService/SearchActors": {"query": "수지"},
}
# The outcomes of rpcs that take an empty request, and of the requests above.
EXPECTED = {
    "sori.catalog.v1.CatalogService/GetToken": "ok",
    "sori.catalog.v1.CatalogService/GetActor": "NotFound ACTOR_NOT_FOUND",
    "sori.catalog.v1.CatalogService/SearchActors": "ok",
    "sori.catalog.v1.CatalogService/ListTokens": "ok",
    "sori.catalog.v1.CatalogService/WatchTokens": "ok",
    "sori.catalog.v1.CatalogService/ExportCatalog": "ok",
    "sori.analysis.v1.AnalysisService/ListAnalyses": "ok",
    "sori.analysis.v1.AnalysisService/WatchAnalysis": "InvalidArgument INVALID_FIELD",
    "sori.upload.v1.UploadService/GetUpload": "InvalidArgument INVALID_FIELD",
}

pytestmark = pytest.mark.skipif(
    NODE is None
    or BROWSER is None
    or not (SCRIPTS / "node_modules" / "@connectrpc" / "connect-web").exists(),
    reason="Node.js, npm or chromium is not installed",
)


def callable_from_browsers() -> set[str]:
    """The public rpcs whose requests are not streams: browsers can't send streams."""
    pool = descriptor_pool.Default()
    return {
        f"{name}/{method.name}"
        for name in PUBLIC
        for method in pool.FindServiceByName(name).methods
        if not method.client_streaming
    }


@pytest.mark.parametrize("protocol", ["grpc-web", "connect"])
def test_a_page_calls_every_public_rpc(gateway: httpx.Client, protocol: str) -> None:
    options = {
        "browser": BROWSER,
        "baseUrl": str(gateway.base_url).rstrip("/"),
        "protocol": protocol,
        "services": PUBLIC,
        "requests": REQUESTS,
        "descriptors": str(ROOT / "build" / "sori.binpb"),
    }
    done = subprocess.run(
        [str(NODE), SCRIPTS / "connect.mjs", json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, str] = json.loads(done.stdout)
    assert outcomes.keys() == callable_from_browsers()
    # The service answers each call; it refuses most empty requests.
    lost = ("Unimplemented", "Unknown", "Internal", "Unavailable", "DeadlineExceeded")
    assert not {key: each for key, each in outcomes.items() if each.startswith(lost)}
    assert outcomes | EXPECTED == outcomes

"""The gateway's routes give every unary call a timeout of seconds."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pool

from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from services.registry import SERVICES
from sori.accounts.v1 import accounts_pb2  # noqa: F401
from sori.analysis.v1 import analysis_pb2  # noqa: F401
from sori.catalog.v1 import catalog_pb2  # noqa: F401
from sori.upload.v1 import tus_pb2, upload_pb2  # noqa: F401

UNARY = [
    f"/{name}/{method.name}"
    for service in SERVICES
    for name in service.public
    for method in descriptor_pool.Default().FindServiceByName(name).methods
    if not method.client_streaming and not method.server_streaming
]

Route = dict[str, Any]


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    path = write_configuration(GatewaySettings(), tmp_path_factory.mktemp("gateway"))
    listeners = yaml.safe_load(path.read_text(encoding="utf-8"))["static_resources"]["listeners"]
    (listener,) = [each for each in listeners if each["name"] == "gateway"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    found: list[Route] = host["routes"]
    return found


def matches(route: Route, path: str) -> bool:
    match = route["match"]
    if "safe_regex" in match:
        return re.fullmatch(match["safe_regex"]["regex"], path) is not None
    return path == match.get("path") or path.startswith(match.get("prefix", "\0"))


@pytest.mark.parametrize("path", UNARY)
def test_a_unary_call_has_a_timeout_of_seconds(routes: list[Route], path: str) -> None:
    route = next(each for each in routes if matches(each, path))
    timeout = float(route["route"]["timeout"].removesuffix("s"))
    assert 0 < timeout <= 15

"""docs/gateway.md names the filters and headers that the gateway's configuration names."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from gateway.render import write_configuration
from gateway.settings import GatewaySettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
LUA = (ROOT / "gateway" / "http_compat.lua").read_text(encoding="utf-8")
TEMPLATE = (ROOT / "gateway" / "envoy.yaml.j2").read_text(encoding="utf-8")


def documented() -> set[str]:
    return set(re.findall(r"`([a-z][a-z0-9-]+)`", PAGE))


def internal_headers() -> set[str]:
    (block,) = re.findall(r"local INTERNAL = {(.*?)}", LUA, re.DOTALL)
    return set(re.findall(r'"([^"]+)"', block))


def test_filters_are_listed_in_their_order(tmp_path: Path) -> None:
    settings = GatewaySettings(gateway_client_requests_per_second=1)
    text = write_configuration(settings, tmp_path).read_text(encoding="utf-8")
    (listener,) = yaml.safe_load(text)["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    listed = re.findall(
        r"^\| `(envoy\.filters\.http\.\w+"
        r"|webhook_ratelimit|http_compat|http_methods|body_budget|bound_fields)` \|",
        PAGE,
        re.MULTILINE,
    )
    assert listed == [each["name"] for each in manager["http_filters"]]


def test_headers_that_pages_may_send_are_documented() -> None:
    allowed = GatewaySettings().gateway_cors_headers.split(",")
    assert {header.strip() for header in allowed} <= documented()


def test_headers_that_pages_may_read_are_documented() -> None:
    (found,) = re.findall(r"expose_headers: (.+)", TEMPLATE)
    assert {header.strip() for header in found.split(",")} <= documented()


def test_internal_headers_are_documented() -> None:
    assert internal_headers() <= documented()


def test_headers_of_the_lua_filter_are_documented() -> None:
    used = set(re.findall(r'(?:get|replace|remove)\("([a-z-]+)"', LUA))
    assert used - {"sori"} <= documented()

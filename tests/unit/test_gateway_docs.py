"""docs/gateway.md names the filters and headers that the gateway's configuration names."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from gateway.render import write_configuration
from gateway.settings import GatewaySettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
SCRIPTS = {
    name: (ROOT / "gateway" / f"{name}.lua").read_text(encoding="utf-8")
    for name in ("http_compat", "credentials", "identity")
}
TEMPLATE = (ROOT / "gateway" / "envoy.yaml.j2").read_text(encoding="utf-8")


def documented() -> set[str]:
    return set(re.findall(r"`([a-z][a-z0-9-]+)`", PAGE))


def internal_headers() -> set[str]:
    (block,) = re.findall(r"local INTERNAL = {(.*?)}", SCRIPTS["http_compat"], re.DOTALL)
    return set(re.findall(r'"([^"]+)"', block))


def test_filters_are_listed_in_their_order(tmp_path: Path) -> None:
    settings = GatewaySettings(gateway_client_requests_per_second=1)
    text = write_configuration(settings, tmp_path).read_text(encoding="utf-8")
    listeners = yaml.safe_load(text)["static_resources"]["listeners"]
    (listener,) = [each for each in listeners if each["name"] == "gateway"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    listed = re.findall(
        r"^\| `(envoy\.filters\.http\.\w+"
        r"|webhook_ratelimit|http_compat|credentials|identity|http_methods|body_budget"
        r"|bound_fields)` \|",
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


def test_headers_of_the_lua_filters_are_documented() -> None:
    calls = re.compile(r'(?:get|replace|remove)\("([a-z-]+)"')
    used = {name for script in SCRIPTS.values() for name in calls.findall(script)}
    assert used - {"sori"} <= documented()

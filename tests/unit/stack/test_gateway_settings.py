from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.render import render
from gateway.settings import GatewaySettings


def test_an_ip_needs_no_dns() -> None:
    assert "STRICT_DNS" not in render(GatewaySettings())


def test_a_name_is_resolved() -> None:
    settings = GatewaySettings.from_environment({"CATALOG_ADDRESS": "catalog.sori:50051"})
    text = render(settings)
    assert text.count("STRICT_DNS") == 1
    assert '"catalog.sori"' in text


def test_every_replica_is_an_endpoint() -> None:
    addresses = "127.0.0.1:50051, 127.0.0.1:50151"
    text = render(GatewaySettings.from_environment({"CATALOG_ADDRESS": addresses}))
    assert "STRICT_DNS" not in text
    assert "port_value: 50051" in text
    assert "port_value: 50151" in text


def test_an_empty_variable_is_not_set() -> None:
    assert GatewaySettings.from_environment({"GATEWAY_PORT": ""}).gateway_port == 8000


def test_origins_are_literal_but_for_the_star() -> None:
    settings = GatewaySettings.from_environment({"GATEWAY_CORS_ORIGINS": "https://*.sori.example"})
    assert r"https://.*\\.sori\\.example" in render(settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"GATEWAY_PORT": "0"},
        {"UPLOAD_ADDRESS": "no-port"},
        {"UPLOAD_ADDRESS": "a: {b: 1}"},
        {"UPLOAD_ADDRESS": "a:65536"},
        {"UPLOAD_ADDRESS": "a:1,"},
        {"UPLOAD_ADDRESS": "a:1,b"},
        {"UPLOAD_ADDRESS": "a:1, a:1"},
        {"GATEWAY_IDLE_SECONDS": "10"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.from_environment(wrong)

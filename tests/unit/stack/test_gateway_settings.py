from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.render import write_configuration
from gateway.settings import GatewaySettings

Render = Callable[..., str]


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Renders Envoy's configuration with these variables."""

    def render(**environment: str) -> str:
        settings = GatewaySettings.from_environment(environment)
        return write_configuration(settings, tmp_path).read_text()

    return render


def test_an_ip_needs_no_dns(render: Render) -> None:
    assert "STRICT_DNS" not in render()


def test_a_name_is_resolved(render: Render) -> None:
    text = render(CATALOG_ADDRESS="catalog.sori:50051")
    assert text.count("STRICT_DNS") == 1
    assert '"catalog.sori"' in text


def test_every_replica_is_an_endpoint(render: Render) -> None:
    text = render(CATALOG_ADDRESS="127.0.0.1:50051, 127.0.0.1:50151")
    assert "STRICT_DNS" not in text
    assert "port_value: 50051" in text
    assert "port_value: 50151" in text


def test_an_empty_variable_counts_as_unset() -> None:
    assert GatewaySettings.from_environment({"GATEWAY_PORT": ""}).gateway_port == 8000


def test_origins_are_literal_except_the_star(render: Render) -> None:
    text = render(GATEWAY_CORS_ORIGINS="https://*.sori.example")
    assert r"https://.*\\.sori\\.example" in text


@pytest.mark.parametrize(
    "invalid",
    [
        {"GATEWAY_PORT": "0"},
        {"UPLOAD_ADDRESS": "no-port"},
        {"UPLOAD_ADDRESS": "a: {b: 1}"},
        {"UPLOAD_ADDRESS": "a:65536"},
        {"UPLOAD_ADDRESS": "a:1,"},
        {"UPLOAD_ADDRESS": "a:1,b"},
        {"UPLOAD_ADDRESS": "a:1, a:1"},
        {"GATEWAY_IDLE_SECONDS": "10"},
        {"GATEWAY_TLS_CERTIFICATE_FILE": "alone.pem"},
        {"TLS_CERTIFICATE_FILE": "without-authority.pem", "TLS_KEY_FILE": "key.pem"},
    ],
)
def test_invalid_settings_are_refused(invalid: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.from_environment(invalid)

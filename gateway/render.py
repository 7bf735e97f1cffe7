"""Render Envoy's configuration: `python -m gateway.render FOLDER`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values, find_dotenv
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from gateway.contract import Binding, bound_fields, methods_of_paths, read_bindings
from gateway.local_replies import LOCAL_REPLIES
from gateway.settings import Endpoint, GatewaySettings, endpoints
from services.registry import SERVICES, Service
from services.version import product_version

_FOLDER = Path(__file__).parent
_PUBLIC = [name for service in SERVICES for name in service.public]

PAGES = {
    "/openapi.json": ("openapi.json", "application/json"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/docs.js": ("docs.js", "text/javascript"),
    "/docs/swagger-ui.css": ("swagger-ui.css", "text/css"),
    "/docs/swagger-ui-bundle.js": ("swagger-ui-bundle.js", "text/javascript"),
}
"""The pages that the gateway serves itself: the file and media type of each path."""


@dataclass(frozen=True)
class Secret:
    """A certificate with its key, or the certificates of a trusted authority."""

    name: str
    certificate: Path
    key: Path | None = None


@dataclass(frozen=True)
class Upstream:
    """A service behind the gateway, and the endpoints of its replicas."""

    service: Service
    endpoints: list[Endpoint]

    @property
    def name(self) -> str:
        """The name of its cluster."""
        return self.service.name

    @property
    def needs_dns(self) -> bool:
        """Whether a replica is given by a host name."""
        return not all(endpoint.is_ip for endpoint in self.endpoints)


def write_configuration(settings: GatewaySettings, folder: Path) -> Path:
    """Write the configuration into a folder; returns the main file. Only its owner can read it.

    Each certificate is configured in a separate file, because Envoy reloads renewed
    certificates only then.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The output is YAML; every value passes the filter `quoted`.
        autoescape=False,  # noqa: S701
    )
    environment.filters["quoted"] = _quoted
    secrets = _secrets(settings)
    for secret in secrets:
        text = environment.get_template("secret.yaml.j2").render(secret=secret)
        _write(folder / f"{secret.name}.yaml", text)
    bindings = read_bindings(settings.gateway_descriptor, _PUBLIC)
    text = environment.get_template("envoy.yaml.j2").render(
        settings=settings,
        version=product_version(),
        secrets={secret.name: folder.absolute() / f"{secret.name}.yaml" for secret in secrets},
        upstreams=_upstreams(settings),
        local_replies=LOCAL_REPLIES,
        pages=PAGES,
        http_compat_lua=_http_compat(settings),
        body_budget_lua=f"BUDGET_BYTES = {settings.client_body_bytes}\n" + _script("body_budget"),
        http_methods_lua=f"PATHS = {_lua_table(_methods(bindings))}\n" + _script("http_methods"),
        bound_fields_lua=f"BOUND_FIELDS = {_lua_table(bound_fields(bindings))}\n"
        + _script("bound_fields"),
        origin_patterns=[_pattern(origin) for origin in settings.allowed_origins],
    )
    return _write(folder / "envoy.yaml", text)


def read_settings() -> GatewaySettings:
    """Read settings from the environment and `.env`; exit if they are invalid.

    The environment takes precedence.
    """
    environment: Mapping[str, str | None] = {
        **dotenv_values(find_dotenv(usecwd=True)),
        **os.environ,
    }
    try:
        return GatewaySettings.from_environment(environment)
    except ValidationError as error:
        sys.exit(f"The gateway's settings are invalid:\n{error}")


def _write(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _quoted(value: object) -> str:
    """A value as JSON, which is valid YAML whatever characters it contains."""
    return json.dumps(value, ensure_ascii=False)


def _methods(bindings: Sequence[Binding]) -> Mapping[str, Sequence[str]]:
    own = [Binding("", "GET", path, "", is_stream=False) for path in (*PAGES, "/healthz")]
    return methods_of_paths([*bindings, *own])


def _http_compat(settings: GatewaySettings) -> str:
    uses_tls = bool(settings.gateway_tls_certificate_file)
    constants = {"USES_TLS": uses_tls, "USES_CORS": bool(settings.allowed_origins)}
    lines = (f"{name} = {str(value).lower()}\n" for name, value in constants.items())
    return "".join(lines) + _script("http_compat")


def _script(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def _lua_table(lists: Mapping[str, Sequence[str]]) -> str:
    """A table of lists in Lua. The strings contain only what names and paths may contain."""
    entries = (
        f"[{_quoted(key)}] = {{ {', '.join(map(_quoted, values))} }}"
        for key, values in lists.items()
    )
    return "{\n  " + ",\n  ".join(entries) + "\n}"


def _secrets(settings: GatewaySettings) -> list[Secret]:
    secrets = []
    if settings.gateway_tls_certificate_file and settings.gateway_tls_key_file:
        secrets.append(
            Secret("listener", settings.gateway_tls_certificate_file, settings.gateway_tls_key_file)
        )
    if settings.tls_certificate_file and settings.tls_key_file:
        secrets.append(Secret("client", settings.tls_certificate_file, settings.tls_key_file))
    if settings.tls_ca_file:
        secrets.append(Secret("authority", settings.tls_ca_file))
    return secrets


def _upstreams(settings: GatewaySettings) -> list[Upstream]:
    return [
        Upstream(service, endpoints(getattr(settings, f"{service.name}_address")))
        for service in SERVICES
    ]


def _pattern(origin: str) -> str:
    """An origin as a regular expression; `*` matches anything."""
    return ".*".join(re.escape(part) for part in origin.split("*"))


def main() -> None:
    """Render with the settings of the environment."""
    parser = argparse.ArgumentParser(prog="python -m gateway.render", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets envoy.yaml and the files that it refers to")
    write_configuration(read_settings(), parser.parse_args().folder)


if __name__ == "__main__":
    main()

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

from gateway.access import ignores_invalid_token, policies, read_access
from gateway.contract import Binding, bound_fields, methods_of_paths, read_bindings
from gateway.issuers import FAILURE, Issuer
from gateway.local_replies import LOCAL_REPLIES
from gateway.settings import Endpoint, GatewaySettings, endpoints
from services.registry import ACCOUNTS, SERVICES, Service
from services.version import product_version

_FOLDER = Path(__file__).parent
_ACCOUNT_SERVICE = f"/{ACCOUNTS.public[0]}"
_KEYS_PATH = "/.well-known/jwks.json"
_KEYS_CLUSTER = "keys"
_CLOCK_SKEW_SECONDS = 10
_KEYS_KEPT_SECONDS = 600

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
    text = environment.get_template("envoy.yaml.j2").render(
        settings=settings,
        version=product_version(),
        secrets={secret.name: folder.absolute() / f"{secret.name}.yaml" for secret in secrets},
        upstreams=_upstreams(settings),
        local_replies=LOCAL_REPLIES,
        pages=PAGES,
        origin_patterns=[_pattern(origin) for origin in settings.allowed_origins],
        keys_socket=folder.absolute() / "keys.sock",
        **_access_values(settings),
        **_scripts(settings),
    )
    return _write(folder / "envoy.yaml", text)


def _access_values(settings: GatewaySettings) -> dict[str, object]:
    """The values of the template about tokens and policies."""
    services = _public_services(settings)
    return {
        "public_services": services,
        "policies": policies(
            read_access(settings.gateway_descriptor, services),
            guests=settings.guests_admitted,
            public_catalog=settings.catalog_public,
        ),
        "issuers": _issuers(settings),
        "failure": FAILURE,
        "clock_skew_seconds": _CLOCK_SKEW_SECONDS,
        "account_service": _ACCOUNT_SERVICE,
        "keys_path": _KEYS_PATH,
    }


def _scripts(settings: GatewaySettings) -> dict[str, str]:
    """The Lua filters, each with its constants."""
    bindings = read_bindings(settings.gateway_descriptor, _public_services(settings))
    return {
        "http_compat_lua": _http_compat(settings),
        "credentials_lua": f"ACCESS_COOKIE = {_quoted(settings.gateway_access_cookie)}\n"
        + _script("credentials"),
        "identity_lua": _identity(settings, bindings),
        "keys_lua": f"KEPT_SECONDS = {_KEYS_KEPT_SECONDS}\n" + _script("keys"),
        "body_budget_lua": f"BUDGET_BYTES = {settings.client_body_bytes}\n"
        + _script("body_budget"),
        "http_methods_lua": f"PATHS = {_lua_table(_methods(bindings))}\n" + _script("http_methods"),
        "bound_fields_lua": f"BOUND_FIELDS = {_lua_table(bound_fields(bindings))}\n"
        + _script("bound_fields"),
    }


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


def _lenient_paths(
    settings: GatewaySettings, bindings: Sequence[Binding]
) -> Mapping[str, Sequence[str]]:
    """The paths, over HTTP and gRPC, at which an invalid access token is ignored."""
    access = read_access(settings.gateway_descriptor, _public_services(settings))
    rpcs = [rpc for rpc, each in access.items() if ignores_invalid_token(rpc, each)]
    over_grpc = [Binding(rpc, "POST", rpc, "", is_stream=False) for rpc in rpcs]
    over_http = [each for each in bindings if each.rpc in rpcs]
    return methods_of_paths([*over_grpc, *over_http])


def _identity(settings: GatewaySettings, bindings: Sequence[Binding]) -> str:
    issuers = (
        f"[{_quoted(issuer.name)}] = {{ prefix = {_quoted(issuer.prefix)},"
        f" roles_claim = {_quoted(issuer.roles_claim)}, roles = {_lua_map(issuer.roles)} }}"
        for issuer in _issuers(settings)
    )
    roles = " ".join(settings.gateway_anonymous_roles.split())
    constants = (
        f"ISSUERS = {{ {', '.join(issuers)} }}",
        f"ANONYMOUS_ROLES = {_quoted(roles)}",
        f"CLOCK_SKEW_SECONDS = {_CLOCK_SKEW_SECONDS}",
        f"LENIENT_PATHS = {_lua_table(_lenient_paths(settings, bindings))}",
    )
    return "\n".join(constants) + "\n" + _script("identity")


def _script(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def _lua_map(values: Mapping[str, str]) -> str:
    """A table in Lua. Control characters are not allowed; all others are the same in JSON."""
    entries = (f"[{_quoted(key)}] = {_quoted(value)}" for key, value in values.items())
    return f"{{ {', '.join(entries)} }}"


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


def _services(settings: GatewaySettings) -> list[Service]:
    return [each for each in SERVICES if each != ACCOUNTS or settings.gateway_accounts]


def _public_services(settings: GatewaySettings) -> list[str]:
    return [name for service in _services(settings) for name in service.public]


def _issuers(settings: GatewaySettings) -> list[Issuer]:
    external = [Issuer.external(each) for each in settings.gateway_issuers]
    if not settings.gateway_accounts:
        return external
    return [Issuer.own(settings.accounts_issuer.rstrip("/"), _KEYS_CLUSTER, _KEYS_PATH), *external]


def _upstreams(settings: GatewaySettings) -> list[Upstream]:
    return [
        Upstream(service, endpoints(getattr(settings, f"{service.name}_address")))
        for service in _services(settings)
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

"""The environment of the stack's services."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values, find_dotenv

from services.registry import SERVICE_NAMES
from services.runtime.tls import Tls
from stack.errors import StackError
from stack.hosts import Hosts
from stack.settings import MAIL_SINK, StackSettings

ROOT = Path(__file__).parents[1]
"""The root of the repository."""

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_GENERATED = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "WEBHOOK_SIGNING_KEY",
    "TARGET_SERVER_TOKEN",
    "ACCOUNTS_SECRET",
)


def user_environment() -> dict[str, str]:
    """The user's variables: those of the environment, then those of `.env`.

    Errors: StackError if `.env` cannot be read.
    """
    path = find_dotenv(usecwd=True)
    try:
        in_file = dotenv_values(path)
    except UnicodeDecodeError as error:
        raise StackError(f"{path} is not UTF-8. Save it as UTF-8.") from error
    return {name: value for name, value in in_file.items() if value} | dict(os.environ)


def hermetic_environment() -> dict[str, str]:
    """The variables that every program needs, and no others."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def service_environment(
    settings: StackSettings,
    base: Mapping[str, str],
    overrides: Mapping[str, str],
    hosts: Hosts | None = None,
) -> dict[str, str]:
    """The variables of the services.

    base: variables that take precedence over the stack's defaults, unless empty.
    overrides: variables that take precedence over both.
    hosts: the hosts of the programs; default: all on loopback.
    """
    has_tls = bool({**base, **overrides}.get("GATEWAY_TLS_CERTIFICATE_FILE"))
    defaults = _defaults(settings, hosts or Hosts(), "https" if has_tls else "http")
    defaults |= kept_secrets(settings.data_dir)
    chosen = {name: value for name, value in base.items() if value or name not in defaults}
    merged = defaults | chosen | dict(overrides)
    merged.setdefault("ANALYZER_TOKEN", merged["TARGET_SERVER_TOKEN"])
    merged.setdefault("ANALYZER_ALLOWED_ORIGINS", ",".join(_analyzer_origins(merged)))
    search_path = [str(ROOT), str(ROOT / "gen"), merged.get("PYTHONPATH", "")]
    merged["PYTHONPATH"] = os.pathsep.join(filter(None, search_path))
    return merged


def _defaults(settings: StackSettings, hosts: Hosts, scheme: str) -> dict[str, str]:
    def at(program: str, port: int) -> str:
        return f"{hosts.address(program)}:{port}"

    def listen(port: int) -> str:
        return f"{hosts.bind}:{port}"

    def target(service: str) -> str:
        """All replicas, in gRPC's syntax."""
        addresses = [at(name, settings.port(name)) for name in settings.replicas[service]]
        return hosts.target(service, addresses)

    entrance = settings.gateways[0] if len(settings.gateways) == 1 else "balancer"
    gateway = f"{scheme}://{at(entrance, settings.gateway_port)}"
    return {
        "DATABASE_URL": f"postgresql://sori@{at('postgres', settings.postgres_port)}/sori",
        "S3_ENDPOINT_URL": f"http://{at('s3', settings.s3_port)}",
        "S3_BUCKET_NAME": "sori",
        "AWS_REGION": "us-east-1",
        **{f"{name.upper()}_LISTEN": listen(settings.port(name)) for name in SERVICE_NAMES},
        **{f"{name.upper()}_ADDRESS": target(name) for name in SERVICE_NAMES},
        "ANALYZER_HOST": hosts.bind,
        "ANALYZER_PORT": str(settings.analyzer_port),
        "TARGET_SERVER_URL": f"http://{at('analyzer', settings.analyzer_port)}/analyze-voice",
        "WEBHOOK_URL": f"{gateway}/tokens/webhook/analysis-complete",
        "ACCOUNTS_ISSUER": gateway,
        # The documented session logs in without reading a mail.
        "ACCOUNTS_EMAIL_VERIFICATION": "false",
        "SMTP_URL": f"smtp://{at(MAIL_SINK, settings.mail_sink_port)}",
        "MAIL_FROM": "Sori <sori@localhost>",
        "APP_URL": gateway,
        # Callers without credentials may change the catalog of a local stack.
        "GATEWAY_ANONYMOUS_ROLES": "catalog_editor",
        "SHUTDOWN_GRACE_SECONDS": "3",
        # Gateways check the health of replicas every half a second.
        "SHUTDOWN_DELAY_SECONDS": "0.6",
        "PYTHONUNBUFFERED": "1",
    }


def _analyzer_origins(environment: Mapping[str, str]) -> list[str]:
    """The origins of S3 and the gateway, as the URLs that the analyzer gets have them."""
    bucket, region = environment["S3_BUCKET_NAME"], environment["AWS_REGION"]
    aws = [
        f"https://{host}.amazonaws.com"
        for host in (f"{bucket}.s3.{region}", f"{bucket}.s3", f"s3.{region}")
    ]
    endpoint = environment.get("S3_ENDPOINT_URL")
    s3 = [_origin(endpoint)] if endpoint else aws
    return [*s3, _origin(environment["WEBHOOK_URL"])]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def tls_of(environment: Mapping[str, str]) -> Tls | None:
    """The files for mutual TLS of these variables; None if they are unset."""
    names = ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE", "TLS_CA_FILE")
    paths = [Path(environment[name]) for name in names if environment.get(name)]
    return Tls(*paths) if len(paths) == len(names) else None


def kept_secrets(data_dir: Path) -> dict[str, str]:
    """The secrets of this data directory; generated at first use, readable by their owner only."""
    path = data_dir / "secrets.env"
    kept = {name: value for name, value in dotenv_values(path).items() if value}
    missing = {name: secrets.token_hex(24) for name in _GENERATED if name not in kept}
    if missing:
        kept |= missing
        write_private(path, "".join(f"{name}={value}\n" for name, value in kept.items()))
    return kept


def write_private(path: Path, text: str) -> None:
    """Write a file atomically; only its owner can read it."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)

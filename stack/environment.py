"""The environment that the services of the stack run in."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values, find_dotenv

from services.runtime.tls import Tls
from stack.hosts import Hosts
from stack.settings import StackSettings

ROOT = Path(__file__).parents[1]
"""The folder that has `services/`, `gen/` and `build/`."""

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_MADE_ONCE = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "WEBHOOK_SIGNING_KEY")


def user_environment() -> dict[str, str]:
    """What the user has set: in `.env`, and before it in the environment."""
    in_file = dotenv_values(find_dotenv(usecwd=True))
    return {name: value for name, value in in_file.items() if value} | dict(os.environ)


def hermetic_environment() -> dict[str, str]:
    """What programs need of the environment anyhow, and nothing more."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def service_environment(
    settings: StackSettings,
    base: Mapping[str, str],
    overrides: Mapping[str, str],
    hosts: Hosts | None = None,
) -> dict[str, str]:
    """Everything that the services are told.

    base: what goes before the stack's own defaults, where it is not empty.
    overrides: what goes before both.
    hosts: where the programs run; default: all on loopback.
    """
    has_tls = bool({**base, **overrides}.get("GATEWAY_TLS_CERTIFICATE_FILE"))
    defaults = _defaults(settings, hosts or Hosts(), "https" if has_tls else "http")
    defaults |= kept_secrets(settings.data_dir)
    chosen = {name: value for name, value in base.items() if value or name not in defaults}
    merged = defaults | chosen | dict(overrides)
    search_path = [str(ROOT), str(ROOT / "gen"), merged.get("PYTHONPATH", "")]
    merged["PYTHONPATH"] = os.pathsep.join(filter(None, search_path))
    return merged


def _defaults(settings: StackSettings, hosts: Hosts, scheme: str) -> dict[str, str]:
    def at(program: str, port: int) -> str:
        return f"{hosts.address(program)}:{port}"

    def listen(port: int) -> str:
        return f"{hosts.bind}:{port}"

    def target(service: str) -> str:
        """All replicas, as gRPC wants them."""
        addresses = [at(name, settings.port(name)) for name in settings.replicas[service]]
        return hosts.target(service, addresses)

    entrance = settings.gateways[0] if len(settings.gateways) == 1 else "balancer"
    webhook = f"{scheme}://{at(entrance, settings.gateway_port)}"
    return {
        "DATABASE_URL": f"postgresql://sori@{at('postgres', settings.postgres_port)}/sori",
        "S3_ENDPOINT_URL": f"http://{at('s3', settings.s3_port)}",
        "S3_BUCKET_NAME": "sori",
        "AWS_REGION": "us-east-1",
        "CATALOG_LISTEN": listen(settings.catalog_port),
        "UPLOAD_LISTEN": listen(settings.upload_port),
        "ANALYSIS_LISTEN": listen(settings.analysis_port),
        "ANALYZER_HOST": hosts.bind,
        "ANALYZER_PORT": str(settings.analyzer_port),
        "CATALOG_ADDRESS": target("catalog"),
        "UPLOAD_ADDRESS": target("upload"),
        "ANALYSIS_ADDRESS": target("analysis"),
        "TARGET_SERVER_URL": f"http://{at('analyzer', settings.analyzer_port)}/analyze-voice",
        "WEBHOOK_URL": f"{webhook}/tokens/webhook/analysis-complete",
        "SHUTDOWN_GRACE_SECONDS": "3",
        # The gateway looks at their health every half a second.
        "SHUTDOWN_DELAY_SECONDS": "0.6",
        "PYTHONUNBUFFERED": "1",
    }


def tls_of(environment: Mapping[str, str]) -> Tls | None:
    """The files for mutual TLS that the services are told, if they are."""
    names = ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE", "TLS_CA_FILE")
    paths = [Path(environment[name]) for name in names if environment.get(name)]
    return Tls(*paths) if len(paths) == len(names) else None


def kept_secrets(data_dir: Path) -> dict[str, str]:
    """Secrets of this data directory, made at first use, readable by their owner alone."""
    path = data_dir / "secrets.env"
    kept = {name: value for name, value in dotenv_values(path).items() if value}
    missing = {name: secrets.token_hex(24) for name in _MADE_ONCE if name not in kept}
    if missing:
        kept |= missing
        write_private(path, "".join(f"{name}={value}\n" for name, value in kept.items()))
    return kept


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)

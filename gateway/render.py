"""Render the configuration of Envoy: `python -m gateway.render > envoy.yaml`."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values, find_dotenv
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from gateway.replies import REPLIES
from gateway.settings import Endpoint, GatewaySettings, endpoints

_FOLDER = Path(__file__).parent

PAGES = {
    "/openapi.json": ("openapi.json", "application/json"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/docs.js": ("docs.js", "text/javascript"),
    "/docs/swagger-ui.css": ("swagger-ui.css", "text/css"),
    "/docs/swagger-ui-bundle.js": ("swagger-ui-bundle.js", "text/javascript"),
}
"""What the gateway serves by itself: the file and media type of each path."""


@dataclass(frozen=True)
class Upstream:
    """One program behind the gateway, and its services, of which the first tells its health."""

    name: str
    services: tuple[str, ...]
    endpoints: list[Endpoint]

    @property
    def needs_dns(self) -> bool:
        """Whether a replica is told by name."""
        return not all(endpoint.is_ip for endpoint in self.endpoints)


def render(settings: GatewaySettings) -> str:
    """The configuration as YAML."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # YAML, not HTML; every value goes through the filter `quoted`.
        autoescape=False,  # noqa: S701
    )
    environment.filters["quoted"] = _quoted
    return environment.get_template("envoy.yaml.j2").render(
        settings=settings,
        upstreams=_upstreams(settings),
        replies=REPLIES,
        pages=PAGES,
        answers_lua=(_FOLDER / "answers.lua").read_text(encoding="utf-8"),
        origin_patterns=[_pattern(origin) for origin in settings.allowed_origins],
    )


def _quoted(value: object) -> str:
    """A JSON value, which is a YAML value too, whatever characters it has."""
    return json.dumps(value, ensure_ascii=False)


def _upstreams(settings: GatewaySettings) -> list[Upstream]:
    return [
        Upstream(
            "catalog", ("sori.catalog.v1.CatalogService",), endpoints(settings.catalog_address)
        ),
        Upstream(
            "upload",
            ("sori.upload.v1.UploadService", "sori.upload.v1.TusService"),
            endpoints(settings.upload_address),
        ),
        Upstream(
            "analysis", ("sori.analysis.v1.AnalysisService",), endpoints(settings.analysis_address)
        ),
    ]


def _pattern(origin: str) -> str:
    """An origin as a regular expression; `*` stands for anything."""
    return ".*".join(re.escape(part) for part in origin.split("*"))


def main() -> None:
    """Render by the environment and `.env`, the environment first."""
    environment: Mapping[str, str | None] = {
        **dotenv_values(find_dotenv(usecwd=True)),
        **os.environ,
    }
    try:
        settings = GatewaySettings.from_environment(environment)
    except ValidationError as error:
        sys.exit(f"The gateway's settings are wrong:\n{error}")
    sys.stdout.write(render(settings))


if __name__ == "__main__":
    main()

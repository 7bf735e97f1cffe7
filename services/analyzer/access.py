"""Who may use the analyzer, and which servers it may call."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import httpx

from services.analyzer.request import AnalysisRequest

Origin = tuple[str, str, int | None]


def origins_in(text: str) -> frozenset[Origin]:
    """The origins in a comma-separated list, such as `http://s3:8333,https://gateway`.

    Raises ValueError if one has no host, or has a path, a query or credentials.
    """
    return frozenset(_listed_origin(entry.strip()) for entry in text.split(",") if entry.strip())


def refused_fields(request: AnalysisRequest, allowed: frozenset[Origin]) -> list[str]:
    """The fields of a request whose URLs have another origin than the allowed ones."""
    voice = request.token.reference_assets.voice
    urls: Iterable[tuple[str, str | None]] = (
        ("audio_url", request.audio_url),
        ("webhook_url", request.webhook_url),
        ("token.reference_assets.voice.url", voice.url if voice else None),
    )
    return [field for field, url in urls if url and _origin(httpx.URL(url)) not in allowed]


def is_authorized(header: str | None, token: str) -> bool:
    """Whether an `Authorization` header has the token as a bearer; always if the token is empty."""
    expected = f"Bearer {token}".encode()
    return not token or hmac.compare_digest((header or "").encode(), expected)


def _listed_origin(text: str) -> Origin:
    url = httpx.URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.raw_path != b"/" or url.userinfo:
        raise ValueError(f"{text} is not an origin such as https://host:port")
    return _origin(url)


def _origin(url: httpx.URL) -> Origin:
    # httpx drops the default port of a scheme.
    return url.scheme, url.host, url.port

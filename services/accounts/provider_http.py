"""HTTP calls to login providers, with bounds: time, size, no redirects, HTTPS only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
import structlog
from yarl import URL

from services.accounts.errors import ProviderUnavailable
from services.accounts.providers import Provider

TIMEOUT_SECONDS = 8.0
CONNECT_TIMEOUT_SECONDS = 3.0
MAX_ANSWER_BYTES = 256 * 1024
CONNECTIONS = 20
KEEP_ALIVE_SECONDS = 4.0
"""Many servers close a connection that was idle for 5 s, perhaps while a request is sent."""

_FAILED = (aiohttp.ClientError, TimeoutError, OSError, ValueError)

_logger = structlog.get_logger(__name__)

Answer = Mapping[str, Any]


class ProviderRefused(Exception):
    """A provider answered with a status below 500 other than 200.

    error: the error code in the answer, such as "invalid_grant"; may be empty.
    """

    def __init__(self, status: int, error: str) -> None:
        self.error = error
        super().__init__(f"{status} {error}".strip())


class ProviderHttp:
    """Calls providers and reads their JSON. It opens its connections when they are needed."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(
        self, provider: Provider, url: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The JSON object at a URL. Errors: ProviderUnavailable, ProviderRefused."""
        return await self._request(provider, "GET", url, headers=headers)

    async def post(
        self,
        provider: Provider,
        url: str,
        form: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The JSON object that answers a form. Errors: ProviderUnavailable, ProviderRefused."""
        return await self._request(provider, "POST", url, headers=headers, data=form)

    async def _request(self, provider: Provider, method: str, url: str, **options: Any) -> Answer:
        if not provider.trusts(url):
            raise unavailable(provider, "its URL is not HTTPS", url)
        try:
            async with self._session().request(
                method, URL(url), allow_redirects=False, **options
            ) as response:
                body = await _bounded_body(response)
        except _FAILED as error:
            raise unavailable(provider, type(error).__name__, url) from error
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise unavailable(provider, f"answered {response.status}", url)
        answer = _json_object(body)
        if response.status != HTTPStatus.OK:
            raise ProviderRefused(response.status, str((answer or {}).get("error", ""))[:100])
        if answer is None:
            raise unavailable(
                provider, "answered without a JSON object, or with too many bytes", url
            )
        return answer

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = _new_session()
        return self._http


def _new_session() -> aiohttp.ClientSession:
    """The connections to all providers, through the proxies that the environment names."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json"},
        trust_env=True,
    )


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    """The body; empty if it has more than MAX_ANSWER_BYTES."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return b""
    return bytes(body)


def _json_object(body: bytes) -> Answer | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def unavailable(provider: Provider, problem: str, url: str) -> ProviderUnavailable:
    """The error for callers; the problem is logged, because only operators can solve it."""
    _logger.warning(
        "login provider failed", provider=provider.name, problem=problem, host=URL(url).host
    )
    return ProviderUnavailable(provider=provider.name)

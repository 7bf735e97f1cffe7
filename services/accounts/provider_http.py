"""HTTP calls to login providers, with bounds: time, size, no redirects, HTTPS only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import structlog
from yarl import URL

from services.accounts.errors import ProviderUnavailable
from services.accounts.provider_connections import ProviderConnections
from services.accounts.providers import Provider

MAX_ANSWER_BYTES = 256 * 1024

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
        self._connections: ProviderConnections | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connections is not None:
            await self._connections.close()

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
            status, body = await self._opened().request(method, url, MAX_ANSWER_BYTES, **options)
        except ConnectionError as error:
            raise unavailable(provider, type(error.__cause__).__name__, url) from error
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise unavailable(provider, f"answered {status}", url)
        answer = _json_object(body)
        if status != HTTPStatus.OK:
            raise ProviderRefused(status, str((answer or {}).get("error", ""))[:100])
        if answer is None:
            raise unavailable(
                provider, "answered without a JSON object, or with too many bytes", url
            )
        return answer

    def _opened(self) -> ProviderConnections:
        if self._connections is None:
            self._connections = ProviderConnections()
        return self._connections


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

"""The connections to all login providers, through the proxies that the environment names."""

from __future__ import annotations

from typing import Any

import aiohttp
from yarl import URL

TIMEOUT_SECONDS = 8.0
CONNECT_TIMEOUT_SECONDS = 3.0
CONNECTIONS = 20
KEEP_ALIVE_SECONDS = 4.0
"""Many servers close a connection that was idle for 5 s, perhaps while a request is sent."""

_FAILED = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class ProviderConnections:
    """Sends requests; opens its connections when they are needed."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json"},
            trust_env=True,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(
        self, method: str, url: str, max_bytes: int, **options: Any
    ) -> tuple[int, bytes]:
        """The status and the body of the answer; no body if it has more than `max_bytes`.

        Redirects are not followed. Errors: ConnectionError, whose cause is the client's error.
        """
        try:
            async with self._session.request(
                method, URL(url), allow_redirects=False, **options
            ) as response:
                return response.status, await _bounded_body(response, max_bytes)
        except _FAILED as error:
            raise ConnectionError from error


async def _bounded_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            return b""
    return bytes(body)

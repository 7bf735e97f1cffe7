"""Fetches recordings and reference voices by presigned URL."""

from __future__ import annotations

import asyncio

import httpx

from services.analyzer.retry import TransientError, describe, raise_for_transient, retrying
from services.analyzer.settings import AnalyzerSettings


class Unavailable(Exception):
    """The file could not be fetched. The message is the reason, for the log."""


class TooLarge(Exception):
    """The file is larger than allowed."""


class Fetcher:
    """Fetches files into memory, with limits on size and time."""

    def __init__(self, client: httpx.AsyncClient, settings: AnalyzerSettings) -> None:
        self._client = client
        self._settings = settings

    async def fetch(self, url: str) -> bytes:
        """The content of the file at a URL. Raises Unavailable or TooLarge."""
        settings = self._settings
        retry = retrying(
            settings.download_attempts, settings.backoff_seconds, settings.max_backoff_seconds
        )
        try:
            async with asyncio.timeout(settings.download_timeout_seconds):
                return await retry(self._fetch_once, url)
        except (httpx.HTTPError, httpx.InvalidURL, TransientError, TimeoutError) as error:
            raise Unavailable(describe(error)) from None

    async def _fetch_once(self, url: str) -> bytes:
        identity = {"Accept-Encoding": "identity"}
        async with self._client.stream("GET", url, headers=identity) as response:
            raise_for_transient(response)
            if not response.is_success:
                raise Unavailable(f"answered {response.status_code}")
            return await _read(response, self._settings.max_audio_bytes)


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge
    return bytes(body)

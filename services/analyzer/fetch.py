"""Fetching files by presigned URL."""

from __future__ import annotations

import asyncio

import httpx

from services.analyzer.retry import Unsettled, attempts, check_settled, describe
from services.analyzer.settings import AnalyzerSettings


class Unavailable(Exception):
    """The file could not be fetched; why, for the log, is its message."""


class TooLarge(Exception):
    """The file has more bytes than allowed."""


class Fetcher:
    """Fetches whole files into memory, of bounded size and in bounded time."""

    def __init__(self, client: httpx.AsyncClient, settings: AnalyzerSettings) -> None:
        self._client = client
        self._settings = settings

    async def fetch(self, url: str) -> bytes:
        """The bytes at a URL. Raises Unavailable or TooLarge."""
        settings = self._settings
        retrying = attempts(
            settings.download_attempts, settings.backoff_seconds, settings.max_backoff_seconds
        )
        try:
            async with asyncio.timeout(settings.download_timeout_seconds):
                return await retrying(self._fetch_once, url)
        except (httpx.HTTPError, httpx.InvalidURL, Unsettled, TimeoutError) as error:
            raise Unavailable(describe(error)) from None

    async def _fetch_once(self, url: str) -> bytes:
        identity = {"Accept-Encoding": "identity"}
        async with self._client.stream("GET", url, headers=identity) as response:
            check_settled(response)
            if not response.is_success:
                raise Unavailable(f"answered {response.status_code}")
            return await _bounded(response, self._settings.max_audio_bytes)


async def _bounded(response: httpx.Response, most: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > most:
            raise TooLarge
    return bytes(body)

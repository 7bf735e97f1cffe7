"""The discovery documents and the keys of OpenID providers, cached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.accounts.errors import ProviderUnavailable
from services.accounts.id_tokens import IdToken, ProviderKey, keys_in
from services.accounts.provider_http import Answer, ProviderHttp, ProviderRefused, unavailable
from services.accounts.providers import Provider

FRESH_SECONDS = 3600.0
"""Age up to which a document is used without a call to the provider."""
STALE_SECONDS = 24 * 3600.0
"""Age up to which a document is used while the provider does not respond."""
RETRY_SECONDS = 5.0
"""For this long after a failed fetch, no call waits for another one."""
REFETCH_SECONDS = 10.0
"""Shortest time between two fetches because of unknown keys, which anyone can invent."""

DISCOVERY_PATH = "/.well-known/openid-configuration"

_T = TypeVar("_T")
Clock = Callable[[], float]


@dataclass(frozen=True)
class Endpoints:
    """The URLs of a provider. jwks, profile: empty if it has none."""

    authorization: str
    token: str
    jwks: str
    profile: str


class CachedDocument(Generic[_T]):
    """A document of a provider. It is fetched when it is needed, by one call at a time."""

    def __init__(
        self, provider: str, fetch: Callable[[], Awaitable[_T]], clock: Clock = time.monotonic
    ) -> None:
        """provider: its name. fetch: raises ProviderUnavailable. clock: in seconds."""
        self._provider = provider
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: _T | None = None
        self._fetch_time = self._failure_time = self._refetch_time = float("-inf")

    async def get(self) -> _T:
        """The document. Errors: ProviderUnavailable."""
        if (value := self._younger_than(FRESH_SECONDS)) is not None:
            return value
        async with self._lock:
            # Another call may have fetched it meanwhile.
            fresh = self._younger_than(FRESH_SECONDS)
            return await self._fetched() if fresh is None else fresh

    async def refetched(self) -> _T:
        """The document, fetched again unless that was just done. Errors: ProviderUnavailable."""
        known = self._fetch_time
        async with self._lock:
            is_new = self._fetch_time != known
            is_recent = self._clock() - self._refetch_time < REFETCH_SECONDS
            if self._value is not None and (is_new or is_recent):
                return self._value
            self._refetch_time = self._clock()
            return await self._fetched()

    async def _fetched(self) -> _T:
        if self._clock() - self._failure_time >= RETRY_SECONDS:
            try:
                fetched = await self._fetch()
            except ProviderUnavailable:
                self._failure_time = self._clock()
            else:
                self._value, self._fetch_time = fetched, self._clock()
                return fetched
        if (stale := self._younger_than(STALE_SECONDS)) is not None:
            return stale
        raise ProviderUnavailable(provider=self._provider)

    def _younger_than(self, seconds: float) -> _T | None:
        return self._value if self._clock() - self._fetch_time < seconds else None


class ProviderDocuments:
    """The endpoints and the keys of each provider."""

    def __init__(
        self, http: ProviderHttp, providers: Iterable[Provider], clock: Clock = time.monotonic
    ) -> None:
        self._http = http
        self._endpoints = {
            each.name: CachedDocument(each.name, _fetcher(self._fetch_endpoints, each), clock)
            for each in providers
        }
        self._keys = {
            each.name: CachedDocument(each.name, _fetcher(self._fetch_keys, each), clock)
            for each in providers
        }

    async def endpoints(self, provider: Provider) -> Endpoints:
        """Its endpoints: those of the settings, and for the rest those of its discovery document.

        Errors: ProviderUnavailable.
        """
        return await self._endpoints[provider.name].get()

    async def key_of(self, provider: Provider, token: IdToken) -> ProviderKey | None:
        """The key that an id token names; None if the provider has no such key.

        For an unknown key the provider's keys are fetched again, because it may have a new one.
        Errors: ProviderUnavailable.
        """
        keys = self._keys[provider.name]
        return token.key_among(await keys.get()) or token.key_among(await keys.refetched())

    async def _fetch_endpoints(self, provider: Provider) -> Endpoints:
        explicit = Endpoints(
            provider.authorization_endpoint,
            provider.token_endpoint,
            provider.jwks_uri,
            provider.profile_endpoint,
        )
        if not provider.issuer or (explicit.authorization and explicit.token and explicit.jwks):
            return explicit
        url = provider.issuer.rstrip("/") + DISCOVERY_PATH
        document = await self._document(provider, url)
        # Otherwise one provider could speak for another (OpenID Connect Discovery, 4.3).
        if document.get("issuer") != provider.issuer:
            raise unavailable(provider, "its discovery document names another issuer", url)
        found = Endpoints(
            explicit.authorization or str(document.get("authorization_endpoint", "")),
            explicit.token or str(document.get("token_endpoint", "")),
            explicit.jwks or str(document.get("jwks_uri", "")),
            explicit.profile or str(document.get("userinfo_endpoint", "")),
        )
        if not (found.token and found.jwks and provider.trusts(found.authorization)):
            raise unavailable(provider, "its discovery document lacks an endpoint", url)
        return found

    async def _fetch_keys(self, provider: Provider) -> tuple[ProviderKey, ...]:
        url = (await self.endpoints(provider)).jwks
        try:
            return keys_in(await self._document(provider, url))
        except ValueError as error:
            raise unavailable(provider, "its keys can't be read", url) from error

    async def _document(self, provider: Provider, url: str) -> Answer:
        try:
            return await self._http.get(provider, url)
        except ProviderRefused as error:
            raise unavailable(provider, f"answered {error}", url) from error


def _fetcher(
    fetch: Callable[[Provider], Awaitable[_T]], provider: Provider
) -> Callable[[], Awaitable[_T]]:
    return lambda: fetch(provider)

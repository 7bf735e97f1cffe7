"""Limits on logins at providers, by the network address of the client.

Every step costs a request to the provider, which anyone can cause. A login that succeeds removes
its steps from the counts, so that a school with one address is not limited.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.accounts.attempt_limits import AttemptLimits
from services.accounts.attempts import Limit, address_limit
from services.accounts.errors import ProviderUnavailable

_START, _END = "provider_login_start", "provider_login"


class ProviderAttempts:
    """Admits the steps of logins."""

    def __init__(self, limits: AttemptLimits, free: int) -> None:
        """free: steps of one kind that an address may do without a pause; 0: unlimited."""
        self._limits = limits
        self._free = free

    @asynccontextmanager
    async def start(self, address: str) -> AsyncIterator[None]:
        """Count the start of a login, which the context makes. address: of the client.

        Errors: TooManyAttempts.
        """
        async with self._counted(address, [self._limit(_START, address)]):
            yield

    @asynccontextmanager
    async def end(self, address: str, *, has_start: bool) -> AsyncIterator[None]:
        """Count the end of a login, which the context makes; it succeeds without an error.

        address: of the client. has_start: whether the login was counted when it started.
        Errors: TooManyAttempts.
        """
        limit = self._limit(_END, address)
        async with self._counted(address, [limit]):
            yield
            succeeded = [limit, self._limit(_START, address)] if has_start else [limit]
            await self._limits.succeed(succeeded)

    @asynccontextmanager
    async def _counted(self, address: str, limits: list[Limit]) -> AsyncIterator[None]:
        async with self._limits.attempt(address, limits):
            try:
                yield
            except ProviderUnavailable:
                # Not the fault of the client.
                await self._limits.succeed(limits)
                raise

    def _limit(self, purpose: str, address: str) -> Limit:
        return address_limit(purpose, address, self._free)

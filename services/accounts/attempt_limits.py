"""Admitting attempts: the cheapest check first.

A flood from one network address is refused from memory: its calls take turns, few at a time, and
a refusal of the database is remembered for some seconds. So a flood costs neither connections
nor hashes, and does not slow the calls of others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from cachetools import LRUCache

from services.accounts.attempts import Limit, Scope, retry_seconds
from services.accounts.errors import TooManyAttempts
from services.accounts.store.attempts import AttemptStore

ACTIVE_PER_ADDRESS = 4
"""Attempts of one network address that run at the same time, in each process."""
WAITING_PER_ADDRESS = 60
"""Attempts of one address that wait for their turn; enough for a class that logs in."""
REMEMBERED_SECONDS = 5.0
"""How long a process repeats a refusal without asking the database. Short, because a password
reset ends a refusal."""
MAX_REMEMBERED = 10_000


class AttemptLimits:
    """Admits attempts, such as logins."""

    def __init__(self, store: AttemptStore) -> None:
        self._store = store
        self._turns = _Turns()
        # By the key of a limit: until when it refuses, by the monotonic clock.
        self._refusals: LRUCache[bytes, float] = LRUCache(MAX_REMEMBERED)

    @asynccontextmanager
    async def attempt(self, address: str, limits: Sequence[Limit]) -> AsyncIterator[None]:
        """Count the attempt that the context makes. address: of the client.

        It counts as a failure until `succeed` is called. Errors: TooManyAttempts.
        """
        self._check_remembered(limits)
        async with self._turns.turn(address):
            self._check_remembered(limits)
            if refusals := await self._store.admit(limits):
                self._remember(refusals)
                raise TooManyAttempts(retry_seconds(max(refusals.values())))
            yield

    async def succeed(self, limits: Sequence[Limit]) -> None:
        """Record that an attempt succeeded, as `Scope` describes."""
        await self._store.succeed(limits)

    async def forget(self, limits: Sequence[Limit]) -> None:
        """Clear the counts of an account, after its owner has proved to read its mails."""
        await self._store.forget(limits)

    def _check_remembered(self, limits: Sequence[Limit]) -> None:
        now = time.monotonic()
        seconds = max(self._refusals.get(limit.key, 0.0) for limit in limits) - now
        if seconds > 0:
            raise TooManyAttempts(retry_seconds(timedelta(seconds=seconds)))

    def _remember(self, refusals: dict[Limit, timedelta]) -> None:
        now = time.monotonic()
        for limit, wait in refusals.items():
            # An account's limit does not hold for known network addresses.
            if limit.scope is not Scope.ACCOUNT:
                self._refusals[limit.key] = now + min(wait.total_seconds(), REMEMBERED_SECONDS)


@dataclass
class _Queue:
    """The attempts of one network address. size: running and waiting ones."""

    semaphore: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(ACTIVE_PER_ADDRESS)
    )
    size: int = 0


class _Turns:
    """Lets few attempts of each network address run at the same time."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn. Errors: TooManyAttempts if the queue is full."""
        queue = self._queues.setdefault(address, _Queue())
        if queue.size >= ACTIVE_PER_ADDRESS + WAITING_PER_ADDRESS:
            raise TooManyAttempts(1)
        queue.size += 1
        try:
            async with queue.semaphore:
                yield
        finally:
            queue.size -= 1
            if not queue.size:
                del self._queues[address]

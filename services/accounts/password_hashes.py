"""Hashes of passwords: argon2id with the parameters of OWASP, in threads of their own.

A hash takes 19 MiB and tens of milliseconds of CPU by design. argon2 releases the GIL, so the
event loop answers other calls meanwhile; few threads and a bounded queue keep memory and CPU
bounded whatever arrives.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from services.accounts.errors import PasswordChecksExhausted

MAX_THREADS = 2
NICENESS = 10
"""The priority of the threads: the event loop and other programs come first."""

OWASP = PasswordHasher(
    time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID
)
"""The parameters that OWASP's Password Storage Cheat Sheet recommends for argon2id."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Verification:
    """Whether a password is the right one, and whether its hash has outdated parameters."""

    is_right: bool
    is_outdated: bool = False


class PasswordHashes:
    """Hashes and verifies passwords off the event loop."""

    def __init__(self, *, queue: int, hasher: PasswordHasher = OWASP) -> None:
        """queue: how many passwords may be checked or wait; further ones are refused."""
        self._hasher = hasher
        self._executor = ThreadPoolExecutor(MAX_THREADS, "password", _lower_priority)
        self._places = threading.Semaphore(queue)
        self._queue = queue
        # The hash to verify where there is no account.
        self._hash_of_nobody = hasher.hash("")

    def close(self) -> None:
        """End the threads when their current work is done."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The hash of a normalised password. Errors: PasswordChecksExhausted."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, stored: str | None) -> Verification:
        """Compare a normalised password with a stored hash.

        stored: None if there is no account, or if it has no password. This takes as long as a
        wrong password. Errors: PasswordChecksExhausted.
        """
        return await self._run(lambda: self._verify(password, stored))

    def _verify(self, password: str, stored: str | None) -> Verification:
        try:
            self._hasher.verify(stored or self._hash_of_nobody, password)
        except (VerificationError, InvalidHashError):
            return Verification(is_right=False)
        if stored is None:
            return Verification(is_right=False)
        return Verification(True, self._hasher.check_needs_rehash(stored))

    async def _run(self, work: Callable[[], Result]) -> Result:
        if not self._places.acquire(blocking=False):
            raise PasswordChecksExhausted(self._queue)
        future = self._executor.submit(work)
        # A cancelled call keeps its place as long as a thread works for it.
        future.add_done_callback(self._release)
        return await asyncio.wrap_future(future)

    def _release(self, _: Future[Result]) -> None:
        self._places.release()


def _lower_priority() -> None:
    """Lower the priority of this thread; only Linux has priorities of threads."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)

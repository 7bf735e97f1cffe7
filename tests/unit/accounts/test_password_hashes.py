"""Hashes of passwords: parameters, renewal, and the bounded queue."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from services.accounts.errors import PasswordChecksExhausted
from services.accounts.password_hashes import (
    MAX_THREADS,
    NICENESS,
    PasswordHashes,
    Verification,
)

FAST = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def hashes() -> Iterator[PasswordHashes]:
    hashes = PasswordHashes(queue=8, hasher=FAST)
    yield hashes
    hashes.close()


async def test_a_password_is_verified(hashes: PasswordHashes) -> None:
    stored = await hashes.hash("푸른 고래가 춤춘다")
    assert await hashes.verify("푸른 고래가 춤춘다", stored) == Verification(is_right=True)
    assert await hashes.verify("푸른 고래가 춤춘다!", stored) == Verification(is_right=False)


async def test_no_password_is_right_for_nobody(hashes: PasswordHashes) -> None:
    assert await hashes.verify("", None) == Verification(is_right=False)


async def test_a_broken_hash_refuses_every_password(hashes: PasswordHashes) -> None:
    assert await hashes.verify("x", "not a hash") == Verification(is_right=False)


async def test_equal_passwords_have_different_hashes(hashes: PasswordHashes) -> None:
    assert await hashes.hash("tidal-lamp-orbit") != await hashes.hash("tidal-lamp-orbit")


async def test_a_hash_with_former_parameters_is_outdated(hashes: PasswordHashes) -> None:
    former = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash("tidal-lamp-orbit")
    assert await hashes.verify("tidal-lamp-orbit", former) == Verification(True, is_outdated=True)


async def test_production_uses_the_parameters_of_owasp() -> None:
    hashes = PasswordHashes(queue=1)
    parameters = extract_parameters(await hashes.hash("tidal-lamp-orbit"))
    hashes.close()
    assert (parameters.type, parameters.memory_cost) == (Type.ID, 19 * 1024)
    assert (parameters.time_cost, parameters.parallelism) == (2, 1)


class PriorityHasher(PasswordHasher):
    """Notes the priority of the thread that hashes."""

    niceness = 0

    def hash(self, password: Any, *, salt: Any = None) -> str:
        self.niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return super().hash(password, salt=salt)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
async def test_hashes_give_way_to_the_event_loop() -> None:
    hasher = PriorityHasher(time_cost=1, memory_cost=8, parallelism=1)
    hashes = PasswordHashes(queue=1, hasher=hasher)
    await hashes.hash("tidal-lamp-orbit")
    hashes.close()
    assert hasher.niceness >= os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert hasher.niceness >= NICENESS


async def test_a_full_queue_refuses_and_then_recovers() -> None:
    slow = PasswordHasher(time_cost=1, memory_cost=64 * 1024, parallelism=1)
    hashes = PasswordHashes(queue=MAX_THREADS + 1, hasher=slow)
    calls = [asyncio.ensure_future(hashes.hash("tidal-lamp-orbit")) for _ in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, PasswordChecksExhausted)]
    assert len(refused) == 2
    await hashes.hash("tidal-lamp-orbit")
    hashes.close()


async def test_a_cancelled_call_keeps_its_place_until_its_thread_is_free() -> None:
    slow = PasswordHasher(time_cost=1, memory_cost=64 * 1024, parallelism=1)
    hashes = PasswordHashes(queue=1, hasher=slow)
    call = asyncio.ensure_future(hashes.hash("tidal-lamp-orbit"))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(PasswordChecksExhausted):
        await hashes.hash("tidal-lamp-orbit")
    hashes.close()

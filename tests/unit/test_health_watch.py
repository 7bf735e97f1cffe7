"""The health of a service follows its dependencies."""

from __future__ import annotations

import asyncio

from services.runtime.health import HealthWatch

HOUR = 3600.0


async def test_a_failing_dependency_is_checked_again_before_the_interval_ends() -> None:
    has_failed, is_checked_again = False, asyncio.Event()

    async def probe() -> None:
        nonlocal has_failed
        if not has_failed:
            has_failed = True
            raise ConnectionError
        is_checked_again.set()

    running = asyncio.create_task(HealthWatch((), {"database": probe}, HOUR).run())
    async with asyncio.timeout(10):
        await is_checked_again.wait()
    running.cancel()

"""Jobs end when PostgreSQL's clock says so, whatever the clock of a worker's host."""

from __future__ import annotations

import asyncio
import os
from uuid import UUID

import pytest

from services.analysis.jobs import State
from services.analysis.store import JobQueue, JobStore
from stack.environment import ROOT
from stack.ports import free_ports
from tests.clocks import WRONG_CLOCKS, needs_faketime, running_with_clock
from tests.integration.analysis.jobs import NOW, dispatched, opened

PATIENCE_SECONDS = 30.0


async def state_after(store: JobStore, job_id: UUID, state: State) -> State:
    """The job's state as soon as it is no longer `state`."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            await asyncio.sleep(0.05)
            if (found := (await store.get(job_id)).state) is not state:
                return found


@needs_faketime
@pytest.mark.parametrize("offset", WRONG_CLOCKS)
async def test_a_worker_with_a_wrong_clock_times_out_only_overdue_jobs(
    database_url: str, store: JobStore, queue: JobQueue, offset: str
) -> None:
    uploading, waiting = await opened(store), await dispatched(store, queue)
    overdue = await opened(store, NOW)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
        "DATABASE_URL": database_url,
        "WEBHOOK_SIGNING_KEY": "a key of some length",
        "ANALYSIS_LISTEN": f"127.0.0.1:{free_ports(1)[0]}",
        "SHUTDOWN_DELAY_SECONDS": "0",
        "RETENTION_DAYS": "0.5",
    }
    with running_with_clock(offset, environment, "services.analysis", "--role", "worker"):
        assert await state_after(store, overdue, State.OPENED) is State.FAILED
    assert (await store.get(uploading)).state is State.OPENED
    assert (await store.get(waiting)).state is State.DISPATCHED

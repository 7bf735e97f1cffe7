"""The pool starts as many worker processes as run calls at the same time."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from pathlib import Path

from services.analyzer.pool import WorkerPool

SECONDS = 60.0


def prepare() -> None:
    """Nothing is to prepare."""


def read_then_identify(fifo: Path) -> int:
    """Wait until the FIFO was written to."""
    fifo.read_bytes()
    return os.getpid()


async def test_one_worker_runs_calls_that_come_one_by_one() -> None:
    pool = WorkerPool(4, prepare, max_calls=100)
    async with pool.running():
        for _ in range(4):
            await pool.call(SECONDS, os.getpid, on_begin=lambda: None)
        assert len(multiprocessing.active_children()) == 1


async def test_a_call_gets_a_worker_of_its_own_while_another_runs(tmp_path: Path) -> None:
    pool, fifo = WorkerPool(2, prepare, max_calls=100), tmp_path / "fifo"
    os.mkfifo(fifo)
    began = asyncio.Event()
    async with pool.running():
        held = asyncio.create_task(pool.call(SECONDS, read_then_identify, fifo, on_begin=began.set))
        await began.wait()
        other = await pool.call(SECONDS, os.getpid, on_begin=lambda: None)
        await asyncio.to_thread(fifo.write_bytes, b"1")
        assert await held != other

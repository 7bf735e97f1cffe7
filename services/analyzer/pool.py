"""Worker processes, each replaced when it dies, hangs or grows old."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar, TypeVarTuple

import structlog

_log = structlog.get_logger(__name__)

Args = TypeVarTuple("Args")
T = TypeVar("T")


class Worker:
    """One process that runs one call at a time, so that its death hurts no other call."""

    def __init__(self, prepare: Callable[[], None], max_calls: int) -> None:
        self._prepare = prepare
        self._max_calls = max_calls
        self._calls = 0
        self._executor: ProcessPoolExecutor | None = None
        self._pid: int | None = None

    async def start(self) -> ProcessPoolExecutor:
        """The running process, started and prepared first if need be."""
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), initializer=self._prepare
            )
            self._calls = 0
            loop = asyncio.get_running_loop()
            self._pid = await loop.run_in_executor(self._executor, os.getpid)
        return self._executor

    async def call(self, seconds: float, work: Callable[[*Args], T], *args: *Args) -> T:
        """What `work` returns or raises, in the process.

        Raises TimeoutError when it takes longer than `seconds`, start included,
        and BrokenProcessPool when the process dies. Then, and when cancelled,
        the process is killed; the next call starts another.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                result = await loop.run_in_executor(await self.start(), work, *args)
        except (TimeoutError, BrokenProcessPool, asyncio.CancelledError):
            self.kill()
            raise
        self._calls += 1
        if self._calls >= self._max_calls:
            self.kill()
        return result

    def kill(self) -> None:
        """End the process at once, if it runs."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._pid = self._executor = None


class WorkerPool:
    """A fixed number of workers."""

    def __init__(self, size: int, prepare: Callable[[], None], max_calls: int) -> None:
        self._workers = [Worker(prepare, max_calls) for _ in range(size)]
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All workers started and prepared; killed in the end."""
        try:
            await asyncio.gather(*(worker.start() for worker in self._workers))
            for worker in self._workers:
                self._idle.put_nowait(worker)
            yield
        finally:
            for worker in self._workers:
                worker.kill()

    async def call(
        self,
        seconds: float,
        work: Callable[[*Args], T],
        *args: *Args,
        on_begin: Callable[[], None],
    ) -> T:
        """What `work` returns or raises, in the next idle worker; `on_begin` tells when.

        A call whose process dies is made once more. Raises what Worker.call does.
        """
        worker = await self._idle.get()
        try:
            on_begin()
            try:
                return await worker.call(seconds, work, *args)
            except BrokenProcessPool:
                _log.warning("worker died, its job is tried once more")
                return await worker.call(seconds, work, *args)
        finally:
            self._idle.put_nowait(worker)

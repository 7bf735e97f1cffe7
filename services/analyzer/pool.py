"""Worker processes. A process that dies, does not respond in time or is old is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import TypeVar, TypeVarTuple

import structlog

_log = structlog.get_logger(__name__)

Args = TypeVarTuple("Args")
T = TypeVar("T")


class WorkerCrashed(Exception):
    """A process ended by itself during a call, as after a segmentation fault."""


class WorkerKilled(Exception):
    """Another process killed the process of a call, which says nothing about the call."""


class Worker:
    """One process that runs one call at a time, so that its death affects no other call."""

    def __init__(self, prepare: Callable[[], None], max_calls: int) -> None:
        self._prepare = prepare
        self._max_calls = max_calls
        self._calls = 0
        self._executor: ProcessPoolExecutor | None = None
        self._process: BaseProcess | None = None

    async def start(self) -> ProcessPoolExecutor:
        """The executor of the process. Starts and prepares the process if it does not run."""
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), initializer=self._prepare
            )
            self._calls = 0
            others = set(multiprocessing.active_children())
            ready = asyncio.get_running_loop().run_in_executor(self._executor, os.getpid)
            self._process = next(iter({*multiprocessing.active_children()} - others), None)
            await ready
        return self._executor

    async def call(self, seconds: float, work: Callable[[*Args], T], *args: *Args) -> T:
        """Run `work` in the process. Returns and raises what `work` does.

        Raises TimeoutError if the call takes longer than `seconds`, including the start of the
        process, and WorkerCrashed or WorkerKilled if the process dies. In these cases, after
        MemoryError, and if cancelled, the process is killed; the next call starts a new one.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                result = await loop.run_in_executor(await self.start(), work, *args)
        except BrokenProcessPool as error:
            raise await self._death() from error
        except (TimeoutError, MemoryError, asyncio.CancelledError):
            self.kill()
            raise
        self._calls += 1
        if self._calls >= self._max_calls:
            self.kill()
        return result

    async def _death(self) -> WorkerCrashed | WorkerKilled:
        """Why the process is dead."""
        process, executor = self._process, self._executor
        self._process = self._executor = None
        if executor is not None:
            # The executor fetches the exit code of its process.
            await asyncio.to_thread(executor.shutdown)
        exit_code = process.exitcode if process else None
        if exit_code == -signal.SIGKILL:
            return WorkerKilled()
        return WorkerCrashed(f"exit code {exit_code}")

    def kill(self) -> None:
        """Kill the process, if it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._process = self._executor = None


class WorkerPool:
    """A fixed number of workers."""

    def __init__(self, size: int, prepare: Callable[[], None], max_calls: int) -> None:
        self._workers = [Worker(prepare, max_calls) for _ in range(size)]
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start and prepare all workers; kill them when the context ends."""
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
        """Run `work` in the next idle worker, as Worker.call does.

        on_begin: called when a worker starts the call.

        If another process kills that of the call, the call is repeated once. If it crashes, the
        call is not repeated, because it would crash again.
        """
        worker = await self._idle.get()
        try:
            on_begin()
            try:
                return await worker.call(seconds, work, *args)
            except WorkerKilled:
                _log.warning("worker killed, repeating its job")
                return await worker.call(seconds, work, *args)
        finally:
            self._idle.put_nowait(worker)

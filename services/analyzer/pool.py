"""Worker processes. A process that dies, does not respond in time or is old is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import TypeVar, TypeVarTuple

import structlog

_log = structlog.get_logger(__name__)

Args = TypeVarTuple("Args")
T = TypeVar("T")


MAX_STARTS = 3
"""How often a call starts a process before it gives up."""


class WorkerDied(Exception):
    """A process died while it ran a call. It would die again, so the call must not be repeated.

    Its cause does not matter: a segmentation fault, the kernel that needs memory, or a signal.
    """


class WorkerUnavailable(Exception):
    """No process could be started for a call."""


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

    async def call(
        self,
        seconds: float,
        work: Callable[[*Args], T],
        *args: *Args,
        on_begin: Callable[[], None],
    ) -> T:
        """Run `work` in the process. Returns and raises what `work` does.

        on_begin: called immediately before the process begins.

        Raises TimeoutError if the call takes longer than `seconds`, including the start of the
        process; WorkerDied if the process dies after the call began; and WorkerUnavailable if
        no process can be started. In these cases, after MemoryError, and if cancelled, the
        process is killed; the next call starts a new one.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                executor = await self._responding()
                on_begin()
                result = await loop.run_in_executor(executor, work, *args)
        except BrokenProcessPool as error:
            raise WorkerDied(f"exit code {await self._exit_code()}") from error
        except (TimeoutError, MemoryError, asyncio.CancelledError):
            self.kill()
            raise
        self._calls += 1
        if self._calls >= self._max_calls:
            self.kill()
        return result

    async def _responding(self) -> ProcessPoolExecutor:
        """The executor of a process that responds.

        Replaces a process that died while it was idle, which is no fault of the next call.
        Raises WorkerUnavailable.
        """
        loop = asyncio.get_running_loop()
        for _ in range(MAX_STARTS):
            try:
                executor = await self.start()
                await loop.run_in_executor(executor, os.getpid)
            except BrokenProcessPool:
                _log.warning("worker died without a job", exit_code=await self._exit_code())
            else:
                return executor
        raise WorkerUnavailable(f"{MAX_STARTS} processes died before they began")

    async def _exit_code(self) -> int | None:
        """The exit code of the dead process. The next call starts a new one."""
        process, executor = self._process, self._executor
        self._process = self._executor = None
        if executor is not None:
            # The executor fetches the exit code of its process.
            await asyncio.to_thread(executor.shutdown)
        return process.exitcode if process else None

    def kill(self) -> None:
        """Kill the process, if it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._process = self._executor = None


class WorkerPool:
    """Workers up to a number; a process starts when a call needs one more."""

    def __init__(self, size: int, prepare: Callable[[], None], max_calls: int) -> None:
        self._workers = [Worker(prepare, max_calls) for _ in range(size)]
        # The worker that was used last comes first, so that the others need not start.
        self._idle: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start and prepare one worker; kill all when the context ends."""
        try:
            await self._workers[-1].start()
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
        """Run `work` in the next idle worker, as Worker.call does."""
        worker = await self._idle.get()
        try:
            return await worker.call(seconds, work, *args, on_begin=on_begin)
        finally:
            self._idle.put_nowait(worker)

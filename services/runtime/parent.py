"""The parent of several processes of a service; see `services.runtime.processes`.

It starts them, starts one again that has ended, and passes on SIGTERM. It exits if none can
start: if a process ends before any has ever listened.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import structlog

from services.runtime.logs import configure_logs
from services.runtime.processes import NUMBER, READY

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0

_logger = structlog.get_logger(__name__)


class Parent:
    """Runs processes of one command until SIGTERM or SIGINT."""

    def __init__(self, command: Sequence[str], count: int) -> None:
        self._command = command
        self._count = count
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._has_listened = False
        self._stopping = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Run the processes; returns the exit status."""
        for ending in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(ending, self._stop)
        async with asyncio.TaskGroup() as group:
            for number in range(1, self._count + 1):
                group.create_task(self._keep_running(number))
        return self._status

    def _stop(self) -> None:
        self._stopping.set()
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.terminate()

    async def _keep_running(self, number: int) -> None:
        pause = FIRST_BACKOFF_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await self._run_once(number)
            if self._stopping.is_set():
                self._status = self._status or _own_status(status)
                return
            if not self._has_listened:
                _logger.error("process cannot start", process=number, status=status)
                self._status = _own_status(status) or 1
                self._stop()
                return
            if time.monotonic() - started > MAX_BACKOFF_SECONDS:
                pause = FIRST_BACKOFF_SECONDS
            _logger.error("process ended", process=number, status=status, restart_seconds=pause)
            await self._stopping_within(pause)
            pause = min(2 * pause, MAX_BACKOFF_SECONDS)

    async def _run_once(self, number: int) -> int:
        """Run one process; returns its exit status, or minus the signal that ended it."""
        with _ready_pipe() as (reading, writing):
            process = await asyncio.create_subprocess_exec(
                *self._command, env=_environment(number, writing), pass_fds=[writing]
            )
        # Otherwise the end of the process would not end the pipe.
        os.close(writing)
        self._running[number] = process
        if self._stopping.is_set():
            process.terminate()
        os.set_blocking(reading, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(reading, self._read_ready, reading)
        try:
            return await process.wait()
        finally:
            # The process may have announced and ended since the loop last looked.
            self._read_ready(reading)
            loop.remove_reader(reading)
            os.close(reading)
            del self._running[number]

    def _read_ready(self, reading: int) -> None:
        with suppress(BlockingIOError):
            if os.read(reading, 1):
                self._has_listened = True
            else:
                asyncio.get_running_loop().remove_reader(reading)

    async def _stopping_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


@contextmanager
def _ready_pipe() -> Iterator[tuple[int, int]]:
    """A pipe, closed only if the context fails."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise


def _environment(number: int, writing: int) -> Mapping[str, str]:
    return {**os.environ, NUMBER: str(number), READY: str(writing)}


def _own_status(status: int) -> int:
    """The parent's exit status. A process that SIGTERM ended before it listened did no harm."""
    return 0 if status == -signal.SIGTERM else abs(status)


@contextmanager
def reserved(address: str) -> Iterator[None]:
    """Keep a port for the processes, so that no other program takes it between two of them.

    With SO_REUSEPORT, a second service on the port would silently get some of the connections.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) == 0:
        sys.exit(f"--processes needs host:port, not {address}")
    with ExitStack() as held:
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
            for family, kind, protocol, _, place in dict.fromkeys(found):
                with socket.socket(family, kind, protocol) as attempt:
                    attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    attempt.bind(place)
                holder = held.enter_context(socket.socket(family, kind, protocol))
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                holder.bind(place)
        except OSError:
            sys.exit(f"Can't listen on {address}: free the port, or set another address.")
        yield


def main() -> int:
    """Run the processes that the arguments name; returns the exit status."""
    name, count, log_level, addresses, *command = sys.argv[1:]
    configure_logs(name, log_level)
    with ExitStack() as ports:
        for address in addresses.split(","):
            ports.enter_context(reserved(address))
        return asyncio.run(_run([sys.executable, *command], int(count)))


async def _run(command: Sequence[str], count: int) -> int:
    return await Parent(command, count).run()


if __name__ == "__main__":
    sys.exit(main())

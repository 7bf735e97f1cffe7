"""The memory of a stack's programs during an attack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil  # type: ignore[import-untyped]

from stack.stack import Stack

_PAUSE_SECONDS = 0.1
_MIB = 1024**2


def resident_mib(stack: Stack, program: str) -> int:
    """The resident memory of a program and its children, in MiB; 0 without a process."""
    pid = stack.pid(program)
    with suppress(psutil.Error):
        if pid is not None:
            parent = psutil.Process(pid)
            processes = (parent, *parent.children(recursive=True))
            return sum(int(each.memory_info().rss) for each in processes) // _MIB
    return 0


@contextmanager
def peaks(stack: Stack, programs: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """The largest resident memory of each program in MiB, while the context lasts."""
    largest = dict.fromkeys(programs, 0)
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(_PAUSE_SECONDS):
            for program in programs:
                largest[program] = max(largest[program], resident_mib(stack, program))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield largest
    finally:
        ended.set()
        thread.join()

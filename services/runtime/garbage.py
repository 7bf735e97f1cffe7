"""Python's garbage collector in a process that serves calls.

A full collection visits every object, and all calls wait for it: with 5,000 watchers, 100 to
450 ms. So objects of the start are never visited, young objects are collected in small steps,
and all others in a quiet minute.
"""

from __future__ import annotations

import gc
import time

from services.runtime.periodic import PeriodicTask

# A small step comes after this many new objects, without those deleted meanwhile; the others
# after this many steps of the kind before. If no minute is quiet, a full collection comes after
# two million objects, because those that only the collector can find use memory.
_THRESHOLDS = (2_000, 10, 100)
_INTERVAL_SECONDS = 60.0
_QUIET_SHARE = 0.05
"""How much of one core a quiet process uses at most."""


def spare_present_objects() -> None:
    """Exempt all present objects from collections, and set when others are collected.

    Switches the collector on if `quick_start` switched it off. The garbage of the start stays,
    half a megabyte: to find it would cost a tenth of the CPU time of the start.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()


def is_time_for_all(cpu_seconds: float, wall_seconds: float, larger_steps: int) -> bool:
    """Whether to collect all objects now.

    cpu_seconds, wall_seconds: the time that the process used, and that passed, in the last
        interval. larger_steps: the number of collections of the middle generation since the
        last full one.
    """
    return larger_steps > 0 and cpu_seconds <= _QUIET_SHARE * wall_seconds


class QuietCollection:
    """Collects all objects after a quiet minute, if some have grown old since the last time."""

    def __init__(self) -> None:
        self._measured = (time.process_time(), time.monotonic())

    async def run(self) -> None:
        """Check once a minute until cancelled."""
        await PeriodicTask("garbage collection", self._check, _INTERVAL_SECONDS).run()

    async def _check(self) -> None:
        cpu, wall = self._measured
        self._measured = (time.process_time(), time.monotonic())
        if is_time_for_all(self._measured[0] - cpu, self._measured[1] - wall, gc.get_count()[2]):
            gc.collect()

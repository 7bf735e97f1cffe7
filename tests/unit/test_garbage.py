"""When a process collects garbage: never what it has loaded, and all else in quiet minutes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from services.runtime.garbage import is_time_for_all

SPARED = """
import gc
import services.runtime.settings
from services.runtime.garbage import spare_present_objects
spare_present_objects()
assert gc.get_freeze_count() > 10_000
assert len(gc.get_objects()) < 1_000
"""


def test_objects_of_the_start_are_not_visited_again() -> None:
    subprocess.run([sys.executable, "-c", SPARED], check=True)


@pytest.mark.parametrize(
    ("cpu_seconds", "larger_steps", "expected"),
    [(0.5, 1, True), (0.5, 0, False), (30.0, 1, False)],
    ids=["quiet", "quiet with few new objects", "busy"],
)
def test_all_objects_are_collected_in_a_quiet_minute(
    cpu_seconds: float, larger_steps: int, expected: bool
) -> None:
    assert is_time_for_all(cpu_seconds, 60.0, larger_steps) is expected

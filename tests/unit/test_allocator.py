"""The allocator keeps the memory of large messages until it is released."""

from __future__ import annotations

import subprocess
import sys

import pytest

from services.runtime.allocator import MIB

SCRIPT = """
from pathlib import Path
from services.runtime.allocator import MIB, configure_allocator, release_free_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

configure_allocator(mapped_bytes=8 * MIB, kept_bytes=256 * MIB)
messages = [bytearray(b"x") * MIB for _ in range(64)]
last = bytearray(b"x") * MIB
full = resident()
messages.clear()
kept = resident()
release_free_memory()
print(full, kept, resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_messages_are_kept_until_they_are_released() -> None:
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True
    ).stdout
    full, kept, released = map(int, output.split())
    assert kept > full - 8 * MIB
    assert released < full - 56 * MIB

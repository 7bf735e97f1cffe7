from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.postgres import forget_dead_server


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["reused", "gone"])
def test_the_pid_file_of_a_dead_server_is_removed(tmp_path: Path, pid: int) -> None:
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(f"{pid}\n/somewhere\n")
    forget_dead_server(tmp_path)
    assert not pid_file.exists()

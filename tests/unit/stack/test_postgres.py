from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.postgres import forget_dead_server, require_reachable
from stack.processes import closed_folders


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["reused", "gone"])
def test_the_pid_file_of_a_dead_server_is_removed(tmp_path: Path, pid: int) -> None:
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(f"{pid}\n/somewhere\n")
    forget_dead_server(tmp_path)
    assert not pid_file.exists()


@pytest.fixture
def closed_binary(tmp_path: Path) -> Path:
    """A program in an open folder inside a folder that only its owner may enter."""
    binary = tmp_path / "closed" / "open" / "postgres"
    binary.parent.mkdir(parents=True)
    binary.touch(mode=0o755)
    binary.parents[0].chmod(0o755)
    binary.parents[1].chmod(0o700)
    return binary


def test_folders_that_other_users_cannot_enter_are_found(closed_binary: Path) -> None:
    found = closed_folders(closed_binary)
    assert closed_binary.parents[1] in found
    assert closed_binary.parents[0] not in found


def test_folders_behind_a_symbolic_link_are_found(closed_binary: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(closed_binary)
    assert closed_binary.parents[1] in closed_folders(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops its rights")
def test_root_learns_what_to_do_about_a_closed_folder(closed_binary: Path) -> None:
    with pytest.raises(
        StackError, match=rf"move the clone .* `chmod o\+x .*{closed_binary.parents[1]}"
    ):
        require_reachable(closed_binary)

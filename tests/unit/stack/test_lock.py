from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.lock import Holder, is_locked, locked, read_holder, wait_until_unlocked, write_holder


def holder_of(runtime: Path) -> Holder:
    return Holder(os.getpid(), "http://127.0.0.1:8000", str(runtime))


def test_only_one_stack_uses_a_data_directory(tmp_path: Path) -> None:
    with locked(tmp_path):
        write_holder(tmp_path, holder_of(tmp_path))
        assert is_locked(tmp_path)
        with pytest.raises(StackError, match="already"), locked(tmp_path):
            pass
    assert wait_until_unlocked(tmp_path)
    assert read_holder(tmp_path) is None


def test_the_temporary_folder_of_a_killed_stack_is_removed(tmp_path: Path) -> None:
    runtime = tmp_path / "sori-left"
    runtime.mkdir()
    write_holder(tmp_path, holder_of(runtime))
    with locked(tmp_path):
        assert not runtime.exists()


def test_no_other_folder_is_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    write_holder(tmp_path, holder_of(precious))
    with locked(tmp_path):
        assert precious.exists()

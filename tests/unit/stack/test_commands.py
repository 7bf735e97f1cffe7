from __future__ import annotations

from pathlib import Path

import pytest

from stack.__main__ import clean, logs
from stack.errors import StackError
from stack.processes import as_config


def test_clean_deletes_only_the_files_of_the_stack(tmp_path: Path) -> None:
    for folder in ("postgres", "s3", "logs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "secrets.env").touch()
    (tmp_path / "mine.txt").touch()
    clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_log_is_reported_with_the_existing_ones(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "upload.log").touch()
    with pytest.raises(StackError, match=r"nothing.*upload"):
        logs(tmp_path, ["nothing"], 10)


def test_commands_survive_spaces_and_percents() -> None:
    assert as_config(["/a b/run", "100%"]) == "'/a b/run' 100%%"

"""`make up` on a machine that does not suit it, and Ctrl-C at every step.

Each failure is one sentence that says what to do, with the exit status 1, and leaves no process.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.registry import PROGRAMS
from stack.disk import LOW_BYTES, DiskWatch
from stack.environment import ROOT, hermetic_environment
from stack.stack import Stack
from tests.integration.stack.commands import Up, up

can_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A small disk of its own."""
    place = folder / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this container does not allow mounts")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fails_with(run: Up, *parts: str) -> None:
    """Check that a run ends with one sentence that contains all these parts."""
    assert run.wait() == 1
    assert "Traceback" not in run.output
    (sentence,) = [line for line in run.output.splitlines() if "Stopped." not in line and line]
    for part in parts:
        assert part in sentence
    assert run.command_lines() == []


def test_another_postgresql_in_dot_env_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://me:secret@db.example/shop\n")
    with up(tmp_path) as run:
        fails_with(run, "DATABASE_URL names db.example/shop", "SORI_USE_DATABASE_URL=true")
        assert "secret" not in run.output


def test_another_s3_in_dot_env_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("S3_ENDPOINT_URL=https://s3.example\n")
    with up(tmp_path) as run:
        fails_with(run, "S3_ENDPOINT_URL names s3.example", "SORI_USE_S3_ENDPOINT_URL=true")


def test_another_mail_server_in_dot_env_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SMTP_URL=smtp://me:secret@mail.example:587\n")
    with up(tmp_path) as run:
        fails_with(run, "SMTP_URL names mail.example:587", "SORI_USE_SMTP_URL=true")
        assert "secret" not in run.output


def test_another_postgresql_is_used_if_a_setting_allows_it(tmp_path: Path) -> None:
    mine = Stack.on_free_ports(
        tmp_path / "mine", without=("s3", *PROGRAMS, "analyzer", "gateway"), seeded=False
    )
    with mine, up(tmp_path, DATABASE_URL=mine.database_url, SORI_USE_DATABASE_URL="true") as run:
        run.wait_for(lambda: "Ctrl-C" in run.output)
        assert f"127.0.0.1:{mine.settings.postgres_port}/sori" in run.output
        assert not (run.data_dir / "postgres").exists()
        run.interrupt()
        assert run.wait() == 0


def test_another_postgresql_that_does_not_respond_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql://sori@127.0.0.1:{closed.getsockname()[1]}/other"
        with up(tmp_path, DATABASE_URL=url, SORI_USE_DATABASE_URL="true") as run:
            fails_with(run, "The database could not be migrated")


def test_a_used_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with up(tmp_path, GATEWAY_PORT=str(port)) as run:
            fails_with(run, f"Port {port} of the gateway is in use", "GATEWAY_PORT")


def test_dot_env_in_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("# 설정\nLOG_LEVEL=INFO\n".encode("cp949"))
    with up(tmp_path) as run:
        fails_with(run, ".env is not UTF-8")


def test_a_data_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with up(tmp_path) as run:
        fails_with(run, str(tmp_path / "data"))


@can_mount
def test_a_read_only_data_folder_is_one_sentence(tmp_path: Path) -> None:
    with disk(tmp_path, "ro") as place, up(tmp_path, SORI_DATA_DIR=str(place)) as run:
        fails_with(run, str(place), "Read-only file system", "SORI_DATA_DIR")


@can_mount
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with disk(tmp_path, "size=64m") as place, up(tmp_path, SORI_DATA_DIR=str(place)) as run:
        fails_with(run, "MiB left", str(place), "SORI_DATA_DIR")


def test_a_disk_that_becomes_full_during_the_start_is_one_sentence(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # PostgreSQL's write-ahead log needs files of 16 MiB.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 1024**2, before[1]))
    try:
        run = Up(tmp_path, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    try:
        fails_with(run, "PostgreSQL could not be prepared", "The disk is full")
    finally:
        run.kill_everything()


@can_mount
def test_a_disk_that_becomes_full_later_is_reported_once(tmp_path: Path) -> None:
    with disk(tmp_path, f"size={2 * LOW_BYTES}") as place:
        watch = DiskWatch(place)
        assert watch.warning() == ""
        (place / "large").write_bytes(bytes(LOW_BYTES + 4096))
        assert "almost full" in watch.warning()
        assert watch.warning() == ""


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(lambda run: run.process.poll() is None, id="imports"),
        pytest.param(lambda run: run.runs("supervisor.supervisord"), id="supervisord"),
        pytest.param(lambda run: run.runs("/initdb"), id="initdb"),
        pytest.param(lambda run: run.runs("services.runtime.migrations"), id="migration"),
        pytest.param(lambda run: run.runs("-m services.catalog"), id="services"),
        pytest.param(lambda run: "Ctrl-C" in run.output, id="serving"),
    ],
)
def test_ctrl_c_ends_everything_at_any_step(tmp_path: Path, step: Callable[[Up], bool]) -> None:
    with up(tmp_path) as run:
        run.wait_for(lambda: step(run))
        run.interrupt()
        assert run.wait() in (0, -2)
        assert "Traceback" not in run.output
        assert run.command_lines() == []


def test_ctrl_c_ends_a_migration_that_waits(tmp_path: Path) -> None:
    # A server that accepts connections and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://sori@127.0.0.1:{silent.getsockname()[1]}/other"
        with up(tmp_path, DATABASE_URL=url, SORI_USE_DATABASE_URL="true") as run:
            run.wait_for(lambda: run.runs("services.runtime.migrations"))
            run.interrupt()
            assert run.wait() == 0
            assert run.command_lines() == []


def catalog_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A run of the catalog's commands; no catalog runs at its address."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "gen")])
    return subprocess.run(
        [sys.executable, "-m", "services.catalog.cli", *arguments],
        env={**hermetic_environment(), "PYTHONPATH": path, "CATALOG_ADDRESS": "127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("import", ""), "the name of the file is empty"),
        (("import", "missing.jsonl"), "import: missing.jsonl: No such file or directory."),
        (("import", "/"), "import: /: Is a directory."),
        (("export", ""), "the name of the file is empty"),
        (("export", "/"), "export: /: Is a directory."),
        (("export", "/missing/a.jsonl"), "export: /missing/a.jsonl: No such file or directory."),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    arguments: tuple[str, str], problem: str
) -> None:
    done = catalog_command(*arguments)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].endswith(problem)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("command", ["import", "export"])
def test_make_names_the_missing_argument(command: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"make {command} FILE=catalog.jsonl" in done.stderr

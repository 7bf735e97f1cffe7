"""A parent of several processes: starts, restarts, signals, and its exit status."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stack.environment import ROOT
from stack.ports import free_ports

LISTENS = """
import os, sys, time
from services.runtime.processes import announce_listening, process_number
print(f"serving {process_number()}", flush=True)
announce_listening()
"""
WAITS = LISTENS + "time.sleep(60)"
DIES = LISTENS + "os.kill(os.getpid(), 9)"
FAILS = "import sys; sys.exit(3)"


@contextmanager
def parent(script: str, port: int, count: int = 2) -> Iterator[subprocess.Popen[str]]:
    command = ["-m", "services.runtime.parent", "test", str(count), "INFO"]
    with subprocess.Popen(
        [sys.executable, *command, f"127.0.0.1:{port}", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture
def port() -> int:
    (port,) = free_ports(1)
    return port


def read_until(process: subprocess.Popen[str], wanted: set[str]) -> None:
    """Read lines until all the wanted ones were there."""
    assert process.stdout is not None
    while wanted:
        line = process.stdout.readline()
        assert line, f"the parent ended without {wanted}"
        wanted.discard(line.strip())


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_every_process_runs_until_the_parent_gets_sigterm(port: int) -> None:
    with parent(WAITS, port) as process:
        read_until(process, {"serving 1", "serving 2"})
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_process_that_dies_is_started_again(port: int) -> None:
    with parent(DIES, port, count=1) as process:
        assert process.stdout is not None
        read_until(process, {"serving 1"})
        ended = json.loads(process.stdout.readline())
        read_until(process, {"serving 1"})
    assert (ended["event"], ended["process"], ended["status"]) == ("process ended", 1, -9)


def test_the_parent_fails_as_its_processes_do_when_none_can_start(port: int) -> None:
    with parent(FAILS, port) as process:
        output, _ = process.communicate()
    assert process.returncode == 3
    assert "process cannot start" in {each["event"] for each in events(output)}


def test_a_port_in_use_is_refused(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), parent(WAITS, port) as process:
        _, error = process.communicate()
    assert process.returncode == 1
    assert f"Can't listen on 127.0.0.1:{port}" in error


def test_the_port_of_another_parent_is_refused(port: int) -> None:
    with parent(WAITS, port) as first:
        read_until(first, {"serving 1", "serving 2"})
        with parent(WAITS, port) as second:
            _, error = second.communicate()
    assert second.returncode == 1
    assert "Can't listen" in error


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process")
def test_processes_end_when_their_parent_is_killed(port: int) -> None:
    script = "from services.runtime.processes import become_parent\n"
    script += 'become_parent(2, "test", "INFO")\n' + WAITS
    with parent(script, port) as process:
        read_until(process, {"serving 1", "serving 2"})
        os.kill(process.pid, signal.SIGKILL)
        assert process.stdout is not None
        # The end of the output: no process holds the pipe any more.
        process.stdout.read()

"""Runs `python -m stack up` as a user does, and finds what it leaves running."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGINT, SIGKILL
from uuid import uuid4

import psutil  # type: ignore[import-untyped]

from stack.environment import ROOT, hermetic_environment
from stack.ports import settings_on_free_ports
from stack.readiness import wait_until

WAIT_SECONDS = 90.0
_MARK = "SORI_TEST_MARK"


class Up:
    """One run of `up` in its own session, with its output in a file."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Start it on free ports, with `folder` as working directory and for its data."""
        chosen = {"SORI_DATA_DIR": str(folder / "data"), "SORI_DURABLE": "false", **environment}
        ports = settings_on_free_ports({}, shared=True).ports
        self.mark = uuid4().hex
        self.data_dir = Path(chosen["SORI_DATA_DIR"])
        self._output = folder / f"output-{self.mark}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stack", "up"],
                cwd=folder,
                env={
                    **hermetic_environment(),
                    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
                    **{name: str(port) for name, port in ports.items()},
                    **chosen,
                    _MARK: self.mark,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C: SIGINT for the whole process group."""
        os.killpg(self.process.pid, SIGINT)

    def wait(self) -> int:
        """Wait until it has ended; returns the exit status."""
        return self.process.wait(WAIT_SECONDS)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition is true while it runs."""
        assert wait_until(lambda: condition() or self.process.poll() is not None, WAIT_SECONDS)
        assert self.process.poll() is None, self.output

    def runs(self, command: str) -> bool:
        """Whether it has started a program whose command line contains these words."""
        return any(command in line for line in self.command_lines())

    def command_lines(self) -> list[str]:
        """The command lines of all its processes."""
        return [" ".join(_command_line(process)) for process in self._processes()]

    def kill_everything(self) -> None:
        for process in self._processes():
            with suppress(psutil.Error):
                process.send_signal(SIGKILL)
        self.process.wait()

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARK) == self.mark:
                    yield process


def _command_line(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


@contextmanager
def up(folder: Path, **environment: str) -> Iterator[Up]:
    """A run of `up`; whatever it leaves is killed at the end."""
    run = Up(folder, environment)
    try:
        yield run
    finally:
        run.kill_everything()

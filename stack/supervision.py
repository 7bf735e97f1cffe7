"""supervisord: runs the programs, restarts those that die, and is controlled over a socket."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import IO, Any, cast
from xmlrpc.client import Fault, ServerProxy

import psutil  # type: ignore[import-untyped]
from supervisor.xmlrpc import Faults, SupervisorTransport

from stack.environment import write_private
from stack.errors import StackError
from stack.processes import as_config, as_environment, bound_to_parent
from stack.templates import rendered

_START_SECONDS = 10.0
_STOP_SECONDS = 60.0
_PAUSE_SECONDS = 0.02
_FREEZE_SECONDS = 10.0
_NOT_HANDLED = ("KILL", "STOP", "CONT")


@dataclass(frozen=True)
class Program:
    """One program to supervise.

    tier: programs of a higher tier stop before those of a lower one.
    stop_seconds: how long it may take to stop before it is killed.
    environment: variables that take precedence over those of all programs.
    """

    name: str
    command: list[str]
    tier: int
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    environment: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    """One supervisord in its own folder."""

    def __init__(self, folder: Path, programs: Sequence[Program]) -> None:
        """Prepare a supervisord.

        folder: a temporary folder with a short path, for its socket and configuration.
        """
        self._folder = folder
        self._tiers = {program.name: program.tier for program in programs}
        self._process: subprocess.Popen[bytes] | None = None
        write_private(folder / "supervisor.conf", _configuration(programs))

    def launch(self, environment: Mapping[str, str], lock: IO[str]) -> None:
        """Start supervisord, but no program yet.

        environment: the variables of all programs.
        lock: stays locked until supervisord exits, even if this process dies first.
        """
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisor.conf"]
        self._process = subprocess.Popen(
            bound_to_parent(command),
            cwd=self._folder,
            env=dict(environment),
            stdin=lock,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal must reach only this process.
            start_new_session=True,
        )
        self._wait_for_socket()

    @property
    def is_running(self) -> bool:
        """Whether supervisord runs."""
        return self._process is not None and self._process.poll() is None

    def has(self, name: str) -> bool:
        """Whether it supervises a program of this name."""
        return name in self._tiers

    def start(self, name: str) -> None:
        """Start a program unless it runs, without waiting until it is ready."""
        try:
            self._call("startProcess", self._full(name), False)
        except Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise

    def stop(self, name: str) -> None:
        """Stop a program and wait until it has exited."""
        try:
            self._call("stopProcess", self._full(name), False)
        except Fault as fault:
            if fault.faultCode != Faults.NOT_RUNNING:
                raise
        self._await_stopped([name])

    def signal(self, name: str, signal: str) -> None:
        """Send a program a signal such as "TERM".

        "KILL", "STOP" and "CONT" are also sent to its children, because the program can't
        handle these signals and forward them. "STOP" returns when all of them are frozen.
        """
        pid = self.pid(name)
        if signal in _NOT_HANDLED and pid is not None:
            # supervisord makes every program the leader of its own process group.
            os.killpg(pid, Signals[f"SIG{signal}"])
            if signal == "STOP":
                _await_frozen(pid)
        else:
            self._call("signalProcess", self._full(name), signal)

    def state(self, name: str) -> str:
        """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL."""
        return cast(str, self._info(name)["statename"])

    def pid(self, name: str) -> int | None:
        """The program's process id; None without a process."""
        return cast(int, self._info(name)["pid"]) or None

    def close(self) -> None:
        """Stop all programs, tier by tier, and supervisord."""
        if self._process is None:
            return
        if self.is_running:
            self._stop_tiers()
            self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _stop_tiers(self) -> None:
        # On its own, supervisord stops the tiers too, but checks them only once a second.
        with suppress(OSError, Fault):
            for tier in sorted(set(self._tiers.values()), reverse=True):
                self._call("stopProcessGroup", f"tier{tier}", False)
                self._await_stopped([name for name, own in self._tiers.items() if own == tier])

    def _await_stopped(self, names: Iterable[str]) -> None:
        for name in names:
            while self.state(name) == "STOPPING":
                time.sleep(_PAUSE_SECONDS)

    def _wait_for_socket(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.is_running:
            try:
                self._call("getState")
            except OSError:
                time.sleep(_PAUSE_SECONDS)
            else:
                return
        self.close()
        log = self._folder / "data" / "logs" / "supervisord.log"
        output = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise StackError(f"supervisord did not start:\n{output}")

    def _info(self, name: str) -> dict[str, Any]:
        return cast(dict[str, Any], self._call("getProcessInfo", self._full(name)))

    def _full(self, name: str) -> str:
        return f"tier{self._tiers[name]}:{name}"

    def _call(self, method: str, *arguments: object) -> object:
        socket = f"unix://{self._folder / 'supervisor.sock'}"
        transport = SupervisorTransport(None, None, serverurl=socket)
        # The URL is not used, because the transport connects to the socket.
        with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def _configuration(programs: Sequence[Program]) -> str:
    values: dict[str, object] = {
        "programs": programs,
        "tiers": sorted({program.tier for program in programs}),
        "root": os.geteuid() == 0,
    }
    return rendered(
        "supervisor.conf.j2", values, as_config=as_config, as_environment=as_environment
    )


def _await_frozen(pid: int) -> None:
    """Wait until a process and its children no longer run."""
    process = psutil.Process(pid)
    deadline = time.monotonic() + _FREEZE_SECONDS
    for each in (process, *process.children(recursive=True)):
        while each.status() != psutil.STATUS_STOPPED:
            if time.monotonic() > deadline:
                raise StackError(f"Process {each.pid} does not stop: {each.status()}.")
            time.sleep(_PAUSE_SECONDS)

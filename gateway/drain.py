"""Run Envoy and stop it gracefully: `python -m gateway.drain envoy --config-path envoy.yaml`.

Envoy itself exits immediately on SIGTERM and drops running calls.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from threading import Lock, Thread
from types import FrameType
from typing import IO

from services.version import product_version

_TIMEOUT_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
# The listener's `stat_prefix` is "gateway". Bytes can be unsent when their call has ended.
_BUSY_GAUGES = "^http.gateway.downstream_(rq_active|cx_tx_bytes_buffered)$"


@dataclass(frozen=True)
class Drain:
    """The phases of a graceful stop.

    delay_seconds: how long `/readyz` fails while new connections are still accepted, so that
        load balancers notice.
    seconds: how long running calls may take after that.
    """

    delay_seconds: float = 0.0
    seconds: float = 5.0


class Envoy:
    """Envoy as a child process."""

    def __init__(self, command: list[str], admin_file: IO[str], drain: Drain) -> None:
        """Start Envoy.

        admin_file: an empty file; Envoy writes the address of its admin pages into it.
        """
        self._admin_file = admin_file
        self._drain = drain
        self._stopping = Lock()
        inherited = admin_file.fileno()
        self._process = subprocess.Popen(  # noqa: S603 (the operator's command)
            [*command, "--admin-address-path", f"/dev/fd/{inherited}"], pass_fds=[inherited]
        )

    def wait(self) -> int:
        """Wait until Envoy exits; returns the exit status as a shell reports it."""
        status = self._process.wait()
        return 128 - status if status < 0 else status

    def stop(self) -> None:
        """Drain Envoy and end it; a second call ends it immediately."""
        if self._stopping.acquire(blocking=False):
            Thread(target=self._drain_and_terminate, daemon=True).start()
        else:
            self._process.terminate()

    def _drain_and_terminate(self) -> None:
        try:
            self._wait_for_calls()
        except (OSError, HTTPException):
            # Envoy has already exited.
            pass
        finally:
            self._process.terminate()

    def _wait_for_calls(self) -> None:
        self._admin_file.seek(0)
        admin = self._admin_file.read()
        if not admin:
            # Envoy does not serve yet.
            return
        # Now every response asks its client to close the connection. New connections are refused
        # after the delay: under constant load, calls would never end otherwise.
        _request(admin, "POST", "/healthcheck/fail")
        time.sleep(self._drain.delay_seconds)
        _request(admin, "POST", "/drain_listeners")
        deadline = time.monotonic() + self._drain.seconds
        # Pause first: the last accepted connections still send their calls.
        time.sleep(_PAUSE_SECONDS)
        while _is_busy(admin) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)


def _is_busy(admin: str) -> bool:
    gauges = _request(admin, "GET", f"/stats?filter={_BUSY_GAUGES}").splitlines()
    return any(not gauge.endswith(": 0") for gauge in gauges)


class _UnixConnection(HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT_SECONDS)
        self.sock.connect(self._path)


def _connection(admin: str) -> HTTPConnection:
    is_socket = admin.startswith("/")
    return _UnixConnection(admin) if is_socket else HTTPConnection(admin, timeout=_TIMEOUT_SECONDS)


def _request(admin: str, method: str, path: str) -> str:
    connection = _connection(admin)
    try:
        connection.request(method, path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def run(command: list[str], drain: Drain) -> int:
    """Run Envoy until it exits; SIGTERM and SIGINT stop it gracefully. Returns its exit status."""
    line = {"event": "starting", "service": "gateway", "version": product_version()}
    print(json.dumps(line), flush=True)
    # A file without a name: nothing is left behind, even after SIGKILL.
    with tempfile.TemporaryFile("w+") as admin_file:
        envoy = Envoy(command, admin_file, drain)

        def stop(_number: int, _frame: FrameType | None) -> None:
            envoy.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        return envoy.wait()


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A command line with the options of `Drain`."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    parser.add_argument(
        "--delay-seconds",
        type=float,
        default=Drain.delay_seconds,
        help="how long to accept new connections after SIGTERM; default: %(default)g",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=Drain.seconds,
        help="how long running calls may take after that; default: %(default)g",
    )
    return parser


def drain_of(arguments: argparse.Namespace) -> Drain:
    """The options of the command line."""
    return Drain(arguments.delay_seconds, arguments.drain_seconds)


def main() -> int:
    """Run the given command."""
    commands = parser("gateway.drain", __doc__)
    commands.add_argument(
        "command", nargs=argparse.REMAINDER, help="envoy and its arguments, --config-path first"
    )
    arguments = commands.parse_args()
    return run(arguments.command, drain_of(arguments))


if __name__ == "__main__":
    sys.exit(main())

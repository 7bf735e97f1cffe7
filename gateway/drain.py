"""Run Envoy and stop it gracefully: `python -m gateway.drain envoy --config-path envoy.yaml`.

Envoy itself leaves at once when it is told to, and drops the calls under way.
"""

from __future__ import annotations

import argparse
import json
import signal
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
# The listener's `stat_prefix` is "gateway". An answer is still being sent when its call has ended.
_UNDER_WAY = "^http.gateway.downstream_(rq_active|cx_tx_bytes_buffered)$"


@dataclass(frozen=True)
class Drain:
    """How it is stopped.

    delay_seconds: how long connections are still taken, while `/readyz` says no: until
        those who balance them have noticed.
    seconds: how long calls may go on after that.
    """

    delay_seconds: float = 0.0
    seconds: float = 5.0


class Envoy:
    """Envoy as a child process."""

    def __init__(self, command: list[str], admin_file: IO[str], drain: Drain) -> None:
        """Start it; `admin_file` is empty, and gets the address of its admin pages."""
        self._admin_file = admin_file
        self._drain = drain
        self._stopping = Lock()
        inherited = admin_file.fileno()
        self._process = subprocess.Popen(  # noqa: S603 (by the operator)
            [*command, "--admin-address-path", f"/dev/fd/{inherited}"], pass_fds=[inherited]
        )

    def wait(self) -> int:
        """Wait for its end; returns the exit status as a shell tells it."""
        status = self._process.wait()
        return 128 - status if status < 0 else status

    def stop(self) -> None:
        """End it when no call is under way any more; told twice, end it at once."""
        if self._stopping.acquire(blocking=False):
            Thread(target=self._drain_and_end, daemon=True).start()
        else:
            self._process.terminate()

    def _drain_and_end(self) -> None:
        try:
            self._end_calls()
        except (OSError, HTTPException):
            # It has ended already.
            pass
        finally:
            self._process.terminate()

    def _end_calls(self) -> None:
        self._admin_file.seek(0)
        admin = self._admin_file.read()
        if not admin:
            # It has not begun to serve.
            return
        # From now on every answer asks its client to close the connection, and after the delay
        # no new ones are taken: under a steady load there would always be a call under way.
        _ask(admin, "POST", "/healthcheck/fail")
        time.sleep(self._drain.delay_seconds)
        _ask(admin, "POST", "/drain_listeners")
        deadline = time.monotonic() + self._drain.seconds
        # The pause comes first: the last connections taken have calls to make.
        time.sleep(_PAUSE_SECONDS)
        while _is_busy(admin) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)


def _is_busy(admin: str) -> bool:
    gauges = _ask(admin, "GET", f"/stats?filter={_UNDER_WAY}").splitlines()
    return any(not gauge.endswith(": 0") for gauge in gauges)


def _ask(admin: str, method: str, path: str) -> str:
    connection = HTTPConnection(admin, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def run(command: list[str], drain: Drain) -> int:
    """Run Envoy until it exits; SIGTERM and SIGINT stop it gracefully. Returns its exit status."""
    line = {"event": "starting", "service": "gateway", "version": product_version()}
    print(json.dumps(line), flush=True)
    # Without a name, it leaves nothing behind even when we are killed.
    with tempfile.TemporaryFile("w+") as admin_file:
        envoy = Envoy(command, admin_file, drain)

        def stop(_number: int, _frame: FrameType | None) -> None:
            envoy.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        return envoy.wait()


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A command line that says how to stop."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    parser.add_argument(
        "--delay-seconds",
        type=float,
        default=Drain.delay_seconds,
        help="how long new connections are still taken when told to stop; default: %(default)g",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=Drain.seconds,
        help="how long calls may go on after that; default: %(default)g",
    )
    return parser


def drain_of(arguments: argparse.Namespace) -> Drain:
    """How to stop, as the command line says."""
    return Drain(arguments.delay_seconds, arguments.drain_seconds)


def main() -> int:
    """Run the command that is given."""
    commands = parser("gateway.drain", __doc__)
    commands.add_argument(
        "command", nargs=argparse.REMAINDER, help="envoy and its arguments, --config-path first"
    )
    arguments = commands.parse_args()
    return run(arguments.command, drain_of(arguments))


if __name__ == "__main__":
    sys.exit(main())

"""Run Envoy and stop it gracefully: `python -m gateway.run envoy --config-path envoy.yaml`.

Envoy itself leaves at once when it is told to, and drops the calls under way.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Lock, Thread
from types import FrameType

_TIMEOUT_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
# The listener's `stat_prefix` is "gateway".
_CALLS_UNDER_WAY = "http.gateway.downstream_rq_active"


class Envoy:
    """Envoy as a child process."""

    def __init__(self, command: list[str], admin_file: Path, drain_seconds: float) -> None:
        """Start it.

        admin_file: where it writes the address of its admin pages.
        drain_seconds: how long calls may go on after `stop`.
        """
        self._admin_file = admin_file
        self._drain_seconds = drain_seconds
        self._stopping = Lock()
        arguments = ["--admin-address-path", str(admin_file)]
        self._process = subprocess.Popen([*command, *arguments])  # noqa: S603 (by the operator)

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
            self._drain()
        except (OSError, HTTPException):
            # It has not begun to serve, or has ended already.
            pass
        finally:
            self._process.terminate()

    def _drain(self) -> None:
        deadline = time.monotonic() + self._drain_seconds
        # From now on /healthz is 503, so that balancers go elsewhere, and every answer asks
        # its client to close the connection.
        self._ask("POST", "/healthcheck/fail")
        while self._calls_under_way() and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)

    def _calls_under_way(self) -> bool:
        answer = self._ask("GET", f"/stats?filter=^{_CALLS_UNDER_WAY}$")
        return not answer.strip().endswith(": 0")

    def _ask(self, method: str, path: str) -> str:
        connection = HTTPConnection(self._admin_file.read_text(), timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()


def main() -> int:
    """Run Envoy until it ends; SIGTERM and SIGINT stop it gracefully."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="sori-gateway-") as folder:
        envoy = Envoy(arguments.command, Path(folder) / "admin", arguments.drain_seconds)

        def stop(_number: int, _frame: FrameType | None) -> None:
            envoy.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        return envoy.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway.run", description=__doc__)
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=5.0,
        help="how long calls may go on when told to stop; default: 5",
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="envoy and its arguments, --config-path first"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

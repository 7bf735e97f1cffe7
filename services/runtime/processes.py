"""Several processes of one service on one port: `python -m services.upload --processes 4`.

The command becomes a parent (`services.runtime.parent`), which starts the same command once for
each process. The processes share nothing but the port, by SO_REUSEPORT: the kernel gives each
new connection to one of them.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys

NUMBER = "SORI_PROCESS"
"""The environment variable with the number of a process, 1 and up."""

READY = "SORI_PROCESS_READY"
"""The environment variable with the file descriptor for `announce_listening`."""

_PR_SET_PDEATHSIG = 1


def add_processes_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--processes`, for `become_parent`."""
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="how many processes serve the port (default: 1); each has the limits of the settings",
    )


def become_parent(count: int, name: str, log_level: str, *addresses: str) -> None:
    """Replace this process by a parent of `count` processes; for one, and in a child, do nothing.

    The parent is a new program, because the memory of the imported service would be wasted.

    name: of the service, for the logs. addresses: host:port of what the processes listen on.
    """
    if process_number():
        _end_with_parent()
        return
    if count == 1:
        return
    if count < 1:
        sys.exit("--processes must be at least 1")
    sys.stdout.flush()
    arguments = [name, str(count), log_level, ",".join(filter(None, addresses))]
    parent = ["-m", "services.runtime.parent", *arguments, *sys.orig_argv[1:]]
    os.execv(sys.executable, [sys.executable, *parent])  # noqa: S606


def process_number() -> int:
    """The number of this process among those of its service, 1 and up; 0 if it is alone."""
    return int(os.environ.get(NUMBER, "0"))


def announce_listening() -> None:
    """Let the parent know that this process listens; does nothing without a parent."""
    descriptor = os.environ.pop(READY, None)
    if descriptor is None:
        return
    try:
        os.write(int(descriptor), b"1")
    except BrokenPipeError:
        sys.exit("the parent process has ended")
    finally:
        os.close(int(descriptor))


def port_of_process(address: str) -> str:
    """The host:port with the port of this process: the given one for the first, then the next."""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + max(0, process_number() - 1)}"


def _end_with_parent() -> None:
    """Receive SIGTERM when the parent dies; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

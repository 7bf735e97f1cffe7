"""Runs programs with a folder as their root, in separate namespaces."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from deploy.docker.check.dockerfile import Image

_MOUNT = """
set -e
root=$1 access=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 devices "$root/dev"
for device in null zero full random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 memory "$root/dev/shm"
for file in resolv.conf hosts; do
    touch "$root/etc/$file" 2>/dev/null || true
    mount --bind "/etc/$file" "$root/etc/$file"
done
if [ "$access" = read-only ]; then
    mount -t tmpfs -o mode=1777,nosuid,nodev temporary "$root/tmp"
    mount -o remount,bind,ro "$root"
else
    mount --bind /etc/ssl/certs "$root/etc/ssl/certs"
fi
while [ "$1" != -- ]; do
    mkdir -p "$(dirname "$root$2")"
    if [ -d "$1" ]; then mkdir -p "$root$2"; else touch "$root$2"; fi
    mount --bind "$1" "$root$2"
    shift 2
done
shift
exec "$@"
"""
# As in a container, it has its own mounts and processes, and its first process has id 1.
_UNSHARE = (
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child",
    "--",
)
_UNPRIVILEGED = (
    *("--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"),
)
_SECONDS = 60.0
_PAUSE_SECONDS = 0.1


def build_command(
    root: Path, workdir: str, command: Sequence[str], mounts: Sequence[tuple[Path, str]] = ()
) -> list[str]:
    """A command of a build: runs as root, with a writable root file system."""
    bound = [text for source, target in mounts for text in (str(source), target)]
    inside = ["chroot", str(root), "env", f"--chdir={workdir}", *command]
    return [*_UNSHARE, "/bin/sh", "-c", _MOUNT, "sh", str(root), "writable", *bound, "--", *inside]


@dataclass(frozen=True)
class Result:
    """The exit status and the output of a command in a container."""

    status: int
    output: str


class Container:
    """A running image, without root's rights or capabilities.

    Its root file system is read-only except /tmp. Its network is this machine's.
    """

    def __init__(
        self, root: Path, image: Image, environment: Mapping[str, str], log: Path, *arguments: str
    ) -> None:
        """Describe a container; entering the context starts it.

        environment: variables in addition to those of the image.
        log: gets its output.
        arguments: follow the entry point in place of the image's command.
        """
        self._root = root
        self._image = image
        self._environment = {**image.environment, **environment}
        self._log = log
        self._arguments = arguments or tuple(image.command)

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._outer = self._start(log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._outer.kill()
        self._outer.wait()

    def _start(self, log: IO[str]) -> subprocess.Popen[bytes]:
        command = [*_UNSHARE, "/bin/sh", "-c", _MOUNT, "sh", str(self._root), "read-only", "--"]
        command += self._inside([*self._image.entrypoint, *self._arguments])
        return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def run(self, command: Sequence[str]) -> Result:
        """Run another command in the container."""
        enter = ["nsenter", "--target", str(self._first_process()), "--mount", "--pid", "--"]
        result = subprocess.run(
            [*enter, *self._inside(command)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return Result(result.returncode, result.stdout)

    def wait_healthy(self) -> None:
        """Wait until the image's HEALTHCHECK succeeds."""
        deadline = time.monotonic() + _SECONDS
        while (result := self._check_health()).status != 0:
            if self._outer.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The container is not healthy: {result.output}\n{self.output}")
            time.sleep(_PAUSE_SECONDS)

    def wait(self) -> int:
        """Wait until it exits on its own; returns its exit status."""
        return self._outer.wait(_SECONDS)

    def stop(self) -> int:
        """Send the image's stop signal; returns the exit status."""
        os.kill(self._first_process(), signal.Signals[self._image.stop_signal])
        return self.wait()

    @property
    def output(self) -> str:
        """Its output so far."""
        return self._log.read_text(errors="replace")

    def _check_health(self) -> Result:
        try:
            return self.run(self._image.healthcheck)
        except ProcessLookupError:
            return Result(1, "The container has no process.")

    def _inside(self, command: Sequence[str]) -> list[str]:
        user, _, group = self._image.user.partition(":")
        return [
            *("chroot", str(self._root)),
            *("setpriv", f"--reuid={user}", f"--regid={group}", *_UNPRIVILEGED),
            *("env", f"--chdir={self._image.workdir}", *command),
        ]

    def _first_process(self) -> int:
        """The id outside the container of its process 1."""
        outer = self._outer.pid
        try:
            children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        except FileNotFoundError:
            children = []
        if not children:
            raise ProcessLookupError(f"Process {outer} has no child.")
        return int(children[0])

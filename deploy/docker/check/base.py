"""A root file system in place of the official Python image, from Debian's packages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from deploy.docker.check.container import build_command

# As in the official image, python and pip are in /usr/local.
_PYTHON = """
set -e
python3 -m venv /usr/local
rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/* /usr/share/doc /usr/share/man \
    /usr/share/locale /root/.cache
"""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def make_base(root: Path) -> Path:
    """Create the root file system, unless it exists; returns its folder."""
    if root.exists():
        return root
    draft = root.with_name(f"{root.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    packages = "--include=ca-certificates,python3-venv"
    command = ["debootstrap", "--variant=minbase", packages, "bookworm", str(draft)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    inside = build_command(draft, "/", ["/bin/sh", "-c", _PYTHON])
    subprocess.run(inside, env={"PATH": _PATH}, check=True)
    return draft.rename(root)


def reason_to_skip() -> str:
    """Why images can't be built on this machine; empty if they can."""
    for program in ("debootstrap", "unshare", "nsenter", "setpriv", "chroot"):
        if shutil.which(program, path=f"/usr/local/bin:{_PATH}") is None:
            return f"{program} is not installed"
    unshare = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], check=False, stderr=subprocess.DEVNULL
    )
    return "" if unshare.returncode == 0 else "only root may create mount and process namespaces"

"""Builds an image from its Dockerfile in a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from docker.utils.build import exclude_paths

from deploy.docker.check.container import build_command
from deploy.docker.check.dockerfile import (
    DockerfileError,
    Image,
    Instruction,
    Stage,
    command_of,
    read_stages,
    words,
)

# Variables of the network and of pip that builds inherit.
_INHERITED = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT"),
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def copy_context(source: Path, target: Path) -> Path:
    """Copy the files that `.dockerignore` includes in a build; returns the copy."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    patterns = (source / ".dockerignore").read_text().splitlines()
    for name in sorted(exclude_paths(str(source), patterns)):
        path = source / name
        if path.is_dir():
            (target / name).mkdir(parents=True, exist_ok=True)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / name)
    subprocess.run(["chown", "-R", "0:0", str(target)], check=True)
    return target


class Build:
    """One build: every stage has a folder, which starts as a copy of its base."""

    def __init__(self, context: Path, base: Path, work: Path, arguments: Mapping[str, str]) -> None:
        """Describe a build.

        context: the source of `COPY`.
        base: the root file system in place of every image that is not built here.
        work: gets the root file systems of the stages.
        arguments: values for `ARG`.
        """
        self._context = context
        self._base = base
        self._work = work
        self._arguments = arguments
        self._stages: dict[str, tuple[Path, Image]] = {}

    def run(self, dockerfile: Path) -> tuple[Path, Image]:
        """Build every stage; returns the root file system and the image of the last one."""
        last = None
        for number, stage in enumerate(read_stages(dockerfile)):
            name = stage.name or str(number)
            last = self._stages[name] = self._build(stage, self._work / name)
        if last is None:
            raise DockerfileError(f"{dockerfile} has no stage")
        return last

    def _build(self, stage: Stage, root: Path) -> tuple[Path, Image]:
        base, _ = self._stages.get(stage.base, (self._base, None))
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(base), str(root)], check=True)
        steps = _Stage(self, root)
        for instruction in stage.instructions:
            steps.execute(instruction)
        return root, steps.image

    @property
    def arguments(self) -> Mapping[str, str]:
        """The values for `ARG`."""
        return self._arguments

    def source(self, stage: str | None) -> Path:
        """The folder that files are copied from: an earlier stage, or the context."""
        return self._stages[stage][0] if stage else self._context

    def cache(self, target: str) -> Path:
        """A folder that survives the build."""
        folder = self._work.parent / "cache" / target.strip("/").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class _Stage:
    """Executes the instructions of one stage."""

    def __init__(self, build: Build, root: Path) -> None:
        self.image = Image(environment={"PATH": _PATH})
        self._build = build
        self._root = root
        self._arguments: dict[str, str] = {}

    @property
    def _variables(self) -> dict[str, str]:
        return {**self._arguments, **self.image.environment}

    def execute(self, instruction: Instruction) -> None:  # noqa: C901 (one branch an instruction)
        """Execute an instruction."""
        value, image = instruction.value, self.image
        match instruction.name:
            case "ARG":
                self._set_argument(instruction)
            case "ENV":
                image.environment |= instruction.pairs(self._variables)
            case "LABEL":
                image.labels |= instruction.pairs(self._variables)
            case "WORKDIR":
                image.workdir = str(PurePosixPath(image.workdir, *words(value, self._variables)))
                self._inside(image.workdir).mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(instruction)
            case "RUN":
                self._run(instruction)
            case "USER":
                image.user = value
            case "ENTRYPOINT":
                image.entrypoint, image.command = command_of(value), []
            case "CMD":
                image.command = command_of(value)
            case "HEALTHCHECK":
                image.healthcheck = command_of(instruction.split()[1].removeprefix("CMD").strip())
            case "STOPSIGNAL":
                image.stop_signal = value
            case "EXPOSE":
                pass
            case name:
                raise DockerfileError(f"The instruction {name} is not supported.")

    def _set_argument(self, instruction: Instruction) -> None:
        name, has_default, _ = instruction.value.partition("=")
        if has_default:
            self._arguments |= instruction.pairs(self._variables)
        if name in self._build.arguments:
            self._arguments[name] = self._build.arguments[name]

    def _copy(self, instruction: Instruction) -> None:
        options, rest = instruction.split()
        chosen = dict(options)
        if unknown := chosen.keys() - {"from", "chown"}:
            raise DockerfileError(f"COPY --{min(unknown)} is not supported.")
        *names, target = words(rest, self._variables)
        source = self._build.source(chosen.get("from"))
        destination = self._inside(target)
        if target.endswith("/") or len(names) > 1:
            destination.mkdir(parents=True, exist_ok=True)
        for name in names:
            _copy(source / name.lstrip("/"), destination)
        if owner := chosen.get("chown"):
            subprocess.run(["chown", "-R", owner, str(destination)], check=True)

    def _run(self, instruction: Instruction) -> None:
        options, command = instruction.split()
        mounts = [self._mount(name, value) for name, value in options]
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        outer = build_command(self._root, self.image.workdir, command_of(command), mounts)
        subprocess.run(outer, env={"HOME": "/root", **inherited, **self._variables}, check=True)
        for _, target in mounts:
            _remove_mount_point(self._root / target.lstrip("/"))

    def _mount(self, option: str, value: str) -> tuple[Path, str]:
        chosen = dict(part.partition("=")[::2] for part in value.split(","))
        target = str(PurePosixPath(self.image.workdir, chosen.get("target", "")))
        match option, chosen.pop("type", ""):
            case "mount", "cache":
                return self._build.cache(target), target
            case "mount", "bind":
                return self._build.source(chosen.get("from")) / chosen["source"], target
            case _:
                raise DockerfileError(f"RUN --{option}={value} is not supported.")

    def _inside(self, path: str) -> Path:
        return self._root / str(PurePosixPath(self.image.workdir, path)).lstrip("/")


def _copy(source: Path, destination: Path) -> None:
    """Copy like COPY: the content of a folder, or a file to that name or into that folder."""
    if source.is_dir():
        destination.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", f"{source}/.", str(destination)], check=True)
    else:
        destination.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(source), str(destination)], check=True)


def _remove_mount_point(path: Path) -> None:
    """Remove the mount point of a mount from the image."""
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()

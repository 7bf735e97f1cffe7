"""Builds every image and runs it next to the local stack: `make image-check`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from deploy.docker.check.base import make_base, reason_to_skip
from deploy.docker.check.build import Build, copy_context
from deploy.docker.check.container import Container
from deploy.docker.check.dockerfile import Image
from services.registry import MIGRATED_SERVICES, SERVICE_NAMES
from services.version import product_version
from stack.environment import hermetic_environment
from stack.ports import free_ports
from stack.stack import Stack

REPOSITORY = Path(__file__).parents[3]
_ARGUMENTS = {"VERSION": product_version(), "REVISION": "check"}
FOLDER = REPOSITORY / "build" / "images"
IMAGES = ("services", "gateway", "analyzer")
_INSTALLERS = ("pip", "uv", "gcc", "cc", "g++", "ld", "make", "buf")
_READ_ONLY = ("/app/x", "/opt/venv/x", "/etc/x", "/x")


@dataclass(frozen=True)
class Built:
    """A built image and its size."""

    name: str
    root: Path
    image: Image
    added_bytes: int
    total_bytes: int


class ImageCheckError(Exception):
    """An image does not have a promised property."""


def require(condition: bool, requirement: str) -> None:
    """Raise ImageCheckError unless the condition is true."""
    if not condition:
        raise ImageCheckError(f"Not met: {requirement}.")


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print a step and its duration."""
    print(f"{name}...", flush=True)
    start = time.monotonic()
    yield
    print(f"  {time.monotonic() - start:.0f} s", flush=True)


def build_all() -> dict[str, Built]:
    """Build the images from one context on one base."""
    with step("building the base from Debian's packages"):
        base = make_base(FOLDER / "base")
    context = copy_context(REPOSITORY, FOLDER / "context")
    built = {}
    for name in IMAGES:
        with step(f"building sori/{name}"):
            build = Build(context, base, FOLDER / name, _ARGUMENTS)
            root, image = build.run(REPOSITORY / "deploy" / "docker" / f"{name}.Dockerfile")
            # Not the difference of the folders: files deleted from the base stay in its layers.
            added = _size(root / "opt") + _size(root / "app")
            built[name] = Built(name, root, image, added, _size(base) + added)
            label = image.labels["org.opencontainers.image.version"]
            require(label == product_version(), f"sori/{name} is labelled with the version")
    return built


def _size(folder: Path) -> int:
    result = subprocess.run(
        ["du", "-s", "--block-size=1", str(folder)], stdout=subprocess.PIPE, text=True, check=True
    )
    return int(result.stdout.split()[0])


class Scenario:
    """Runs the images together, with PostgreSQL and S3 of the local stack."""

    def __init__(self, built: Mapping[str, Built], stack: Stack, logs: Path) -> None:
        """Describe the scenario; `logs` gets a file per container."""
        self._built = built
        self._logs = logs
        self._stack = stack
        ops, admin, *health = free_ports(2 + len(SERVICE_NAMES))
        self._health = dict(zip(SERVICE_NAMES, health, strict=True))
        ports = stack.settings.ports
        kept = stack.environment.keys() - hermetic_environment().keys() - {"PYTHONPATH"}
        self._environment = {
            **{name: stack.environment[name] for name in kept},
            "GATEWAY_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(ports["GATEWAY_PORT"]),
            "GATEWAY_ADMIN_PORT": str(admin),
            "GATEWAY_OPS_PORT": str(ops),
        }

    def run(self) -> None:
        """Migrate, start everything, make a call, inspect the containers, stop everything."""
        with step("migrating an empty database with sori/services"):
            asyncio.run(_empty_database(self._stack.database_url))
            self._migrate()
        with ExitStack() as running:
            with step("waiting until every HEALTHCHECK succeeds"):
                containers = [running.enter_context(each) for each in self._containers()]
                for container in containers:
                    container.wait_healthy()
            with step("calling the services through the gateway"):
                self._call()
                self._log_in()
            with step("inspecting the containers"):
                for container in containers:
                    _check_inside(container)
            with step("stopping everything by SIGTERM"):
                # The gateway first, because it calls the others.
                for container in reversed(containers):
                    require(
                        container.stop() == 0, f"the container exits with 0:\n{container.output}"
                    )

    def _containers(self) -> list[Container]:
        services = [self._service(name) for name in SERVICE_NAMES]
        return [*services, self._container("analyzer"), self._container("gateway")]

    def _service(self, name: str) -> Container:
        health = {"HEALTH_LISTEN": f"127.0.0.1:{self._health[name]}"}
        return self._container("services", f"services.{name}", **health)

    def _container(self, image: str, *arguments: str, **environment: str) -> Container:
        built = self._built[image]
        log = self._logs / f"{'-'.join((image, *arguments))}.log"
        return Container(
            built.root, built.image, {**self._environment, **environment}, log, *arguments
        )

    def _migrate(self) -> None:
        with self._container("services", "services.runtime.migrations") as migrations:
            require(migrations.wait() == 0, f"migrations exit with 0:\n{migrations.output}")

    def _call(self) -> None:
        with httpx.Client(base_url=self._stack.gateway_url, timeout=10) as client:
            made = client.post("/actors", json={"name": "아이유"}).raise_for_status().json()
            found = client.get(f"/actors/{made['id']}").raise_for_status().json()
            require(found["name"] == "아이유", f"the catalog returns the created actor: {found}")

    def _log_in(self) -> None:
        learner = {"email": "learner@example.com", "password": "correct horse battery"}
        with httpx.Client(base_url=self._stack.gateway_url, timeout=10) as client:
            client.post("/auth/signup", json=learner).raise_for_status()
            tokens = client.post("/auth/login", json=learner).raise_for_status().json()
            bearer = {"authorization": f"Bearer {tokens['access_token']}"}
            account = client.get("/auth/me", headers=bearer).raise_for_status().json()
            require(account["email"] == learner["email"], f"a learner logs in: {account}")


def _check_inside(container: Container) -> None:
    status = container.run(["cat", "/proc/1/status"]).output
    require("Uid:\t65532\t65532\t65532\t65532" in status, f"the container runs as 65532:\n{status}")
    require("CapEff:\t0000000000000000" in status, f"the container has no capabilities:\n{status}")
    version = container.run(["python", "-m", "services.version"]).output.strip()
    require(version == product_version(), f"the code has the version of the label: {version}")
    for path in _READ_ONLY:
        require(container.run(["touch", path]).status != 0, f"{path} cannot be written")
    require(container.run(["touch", "/tmp/x"]).status == 0, "/tmp/x can be written")  # noqa: S108
    for program in _INSTALLERS:
        found = container.run(["sh", "-c", f"command -v {program}"])
        require(found.status != 0, f"{program} is not in the image")
    for module in ("pip", "ensurepip", "setuptools"):
        found = container.run(["python", "-c", f"import {module}"])
        require("ModuleNotFoundError" in found.output, f"{module} is not in the image")


async def _empty_database(url: str) -> None:
    """Undo the migrations of the stack."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP SCHEMA {', '.join(MIGRATED_SERVICES)} CASCADE")
    finally:
        await connection.close()


def print_sizes(built: Mapping[str, Built]) -> None:
    """Print the size of each image, without and with its base."""
    print("image           on its base      total")
    for each in built.values():
        mebibytes = [size / 2**20 for size in (each.added_bytes, each.total_bytes)]
        print(f"sori/{each.name:<10} {mebibytes[0]:7.0f} MiB {mebibytes[1]:7.0f} MiB")


def main() -> None:
    """Check the images, or print why this machine can't."""
    if reason := reason_to_skip():
        print(f"The images are not checked: {reason}.")
        return
    built = build_all()
    print_sizes(built)
    without = (*SERVICE_NAMES, "analyzer", "gateway")
    with tempfile.TemporaryDirectory(prefix="sori-images-") as folder:
        data = Path(folder)
        with Stack.on_free_ports(data / "stack", without=without, seeded=False) as stack:
            Scenario(built, stack, data).run()
    for each in built.values():
        shutil.rmtree(each.root.parent)
    print("The images work.")


if __name__ == "__main__":
    try:
        main()
    except (ImageCheckError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))

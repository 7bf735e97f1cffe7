"""Worlds in which things die. `CHAOS=long` runs them as long as the promises are worth."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stack.ports import free_ports
from tests.chaos.world import AUDIT, Double, World
from tests.stacks import new_stack, outside

MAX_ATTEMPTS = 10

ENVIRONMENT = {
    "DISPATCH_TIMEOUT_SECONDS": "2",
    "DISPATCH_BACKOFF_SECONDS": "0.2",
    "DISPATCH_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
    "ANALYSIS_TIMEOUT_SECONDS": "3",
    "ANALYSIS_MAX_SILENCES": "3",
    "STATUS_POLL_SECONDS": "1",
    "BREAKER_PAUSE_SECONDS": "0.5",
    "UPLOAD_TIMEOUT_SECONDS": "10",
    "HEARTBEAT_SECONDS": "2",
}

MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def is_long() -> bool:
    return os.environ.get("CHAOS") == "long"


@pytest.fixture(scope="package")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeWorld]:
    """Makes a world of two replicas of each service, and two workers."""
    with ExitStack() as worlds:

        def make(only: str | None = None, **environment: str) -> World:
            folder: Path = tmp_path_factory.mktemp("world")
            double = Double(free_ports(1)[0], folder / "journal", only, outside())
            double.start()
            worlds.callback(double.kill)
            chosen = {**ENVIRONMENT, "TARGET_SERVER_URL": double.url, **environment}
            stack = new_stack(
                folder / "stack",
                chosen,
                without=("analyzer",),
                durable=True,
                replicas=2,
                analysis_workers=2,
            )
            world = World(worlds.enter_context(stack), double)
            for statement in AUDIT.split(";\nCREATE"):
                world.query(statement if "TABLE" in statement else f"CREATE{statement}")
            return world

        yield make


@pytest.fixture(scope="package")
def shared_world(make_world: MakeWorld) -> World:
    """A world for the tests that leave it as it was."""
    return make_world("accepts", DISPATCH_TIMEOUT_SECONDS="20", ANALYSIS_TIMEOUT_SECONDS="60")


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """A world whose analysis server behaves."""
    yield shared_world
    shared_world.double.behave("accepts")

"""A service on an unmigrated database waits, and becomes ready without a restart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import asyncpg
import grpc
import pytest

from services.registry import BY_NAME, MIGRATED_SERVICES
from services.runtime.healthcheck import is_serving
from services.runtime.revisions import older_revisions
from sori.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from sori.upload.v1 import upload_pb2, upload_pb2_grpc
from stack.stack import Stack
from tests.databases import copy_database

WAIT_SECONDS = 30.0
JOB_ID = "019d3f00-0000-7000-8000-000000000000"

Call = Callable[[grpc.Channel], object]

READS: dict[str, Call] = {
    "accounts": lambda channel: accounts_pb2_grpc.AccountServiceStub(channel).GetErasure(
        accounts_pb2.GetErasureRequest(erasure_id=JOB_ID)
    ),
    "catalog": lambda channel: catalog_pb2_grpc.CatalogServiceStub(channel).ListTokens(
        catalog_pb2.ListTokensRequest()
    ),
    "upload": lambda channel: upload_pb2_grpc.UploadServiceStub(channel).GetUpload(
        upload_pb2.GetUploadRequest(upload_id=JOB_ID)
    ),
    "analysis": lambda channel: analysis_pb2_grpc.AnalysisServiceStub(channel).GetAnalysis(
        analysis_pb2.GetAnalysisRequest(job_id=JOB_ID)
    ),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("unmigrated")
    copy_database(folder)
    with Stack.on_free_ports(folder, without=("analyzer", "gateway"), seeded=False) as stack:
        yield stack


@pytest.fixture(scope="module", params=MIGRATED_SERVICES)
def unmigrated(request: pytest.FixtureRequest, stack: Stack) -> Iterator[str]:
    """A service that was started before its schema exists."""
    name: str = request.param
    stack.stop(name)
    asyncio.run(drop_schema(stack.database_url, name))
    stack.start(name)
    wait_until(lambda: is_waiting(stack, name))
    yield name
    migrate(stack, name)


async def drop_schema(url: str, schema: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    finally:
        await connection.close()


def migrate(stack: Stack, name: str) -> None:
    command = [sys.executable, "-m", "services.runtime.migrations", name]
    subprocess.run(command, env=dict(stack.environment), check=True, stdout=subprocess.DEVNULL)


def is_waiting(stack: Stack, name: str) -> bool:
    """Whether the service responds, and logged that it waits for its migrations."""
    with stack.channel(name) as channel:
        try:
            serving = is_serving(channel, BY_NAME[name].health_name)
        except grpc.RpcError:
            return False
    assert not serving
    return "waiting for migrations" in this_start(stack, name)


def this_start(stack: Stack, name: str) -> str:
    """The log since the last start of the service's process."""
    return stack.logs(name).rpartition('"event": "starting"')[2]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_calls_are_answered_as_unavailable(stack: Stack, unmigrated: str) -> None:
    with stack.channel(unmigrated) as channel, pytest.raises(grpc.RpcError) as error:
        READS[unmigrated](channel)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_an_older_schema_is_not_enough(stack: Stack, unmigrated: str) -> None:
    if not older_revisions(unmigrated):
        pytest.skip("its first migration is its head")
    command = [sys.executable, "-m", "alembic", "upgrade", "+1"]
    folder = f"services/{unmigrated}"
    subprocess.run(command, cwd=folder, env=dict(stack.environment), check=True)
    wait_until(lambda: "the schema is at revision" in this_start(stack, unmigrated))
    assert not stack.is_ready(unmigrated)


def test_it_becomes_ready_without_a_restart(stack: Stack, unmigrated: str) -> None:
    pid = stack.pid(unmigrated)
    migrate(stack, unmigrated)
    stack.wait_ready(unmigrated)
    assert stack.pid(unmigrated) == pid

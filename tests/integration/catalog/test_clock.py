"""Cursors expire when PostgreSQL's clock says so, whatever the clock of a catalog's host."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing

import grpc

from services.catalog.models import Actor, Token
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.runtime.database import Database
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from stack.environment import ROOT
from stack.ports import free_ports
from tests.clocks import needs_faketime, running_with_clock

PATIENCE_SECONDS = 30.0


@needs_faketime
async def test_a_replica_with_a_wrong_clock_resumes_a_watch_from_a_new_cursor(
    catalog: CatalogStore, database: Database, database_url: str
) -> None:
    await catalog.actors.create(Actor("a"))
    watch = TokenWatch(catalog.changes, database, heartbeat_seconds=1)
    async with aclosing(watch.watch("")) as batches:
        cursor = (await anext(batches)).cursor
    token = await catalog.tokens.create(Token("clip", (1,), "", "", 0, 10))

    address = f"127.0.0.1:{free_ports(1)[0]}"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
        "DATABASE_URL": database_url,
        "CATALOG_LISTEN": address,
        "SHUTDOWN_DELAY_SECONDS": "0",
    }
    request = catalog_pb2.WatchTokensRequest(cursor=cursor)
    with running_with_clock("+8d", environment, "services.catalog"):
        async with asyncio.timeout(PATIENCE_SECONDS), grpc.aio.insecure_channel(address) as channel:
            stub = catalog_pb2_grpc.CatalogServiceStub(channel)
            call = stub.WatchTokens(request, wait_for_ready=True)
            batch = await anext(aiter(call))
            call.cancel()
    assert not batch.snapshot
    assert [change.token_id for change in batch.changes] == [token.id]

"""Uploads expire when PostgreSQL's clock says so, whatever the clock of a service's host."""

from __future__ import annotations

import asyncio
import os
from uuid import UUID

import pytest
from sqlalchemy import text

from services.upload.state import State
from stack.ports import free_ports
from stack.stack import Stack
from tests.clocks import WRONG_CLOCKS, needs_faketime, running_with_clock
from tests.integration.upload.process import Backends, Process

pytestmark = pytest.mark.asyncio(loop_scope="package")

PATIENCE_SECONDS = 30.0


async def wait_until_handled(backends: Backends, upload_ids: list[UUID]) -> None:
    """Wait until the reaper has ended or postponed these uploads, which are due."""
    statement = text(
        "SELECT bool_and(state <> 'receiving' OR (due_time = expire_time AND due_time > now()))"
        " FROM upload.uploads WHERE upload_id = ANY(:upload_ids)"
    )
    is_handled = False
    async with asyncio.timeout(PATIENCE_SECONDS), backends.database.transaction() as connection:
        while not is_handled:
            await asyncio.sleep(0.05)
            is_handled = bool(await connection.scalar(statement, {"upload_ids": upload_ids}))


@needs_faketime
@pytest.mark.parametrize("offset", WRONG_CLOCKS)
async def test_a_service_with_a_wrong_clock_expires_only_old_uploads(
    backends: Backends, storage: Stack, offset: str
) -> None:
    process = Process(backends)
    alive = (await process.create()).upload.upload_id
    old = (await process.create()).upload.upload_id
    await process.make_due([alive, old])
    await backends.execute(
        "UPDATE upload.uploads SET expire_time = now() WHERE upload_id = :old", old=old
    )
    environment = {
        **os.environ,
        **storage.environment,
        "UPLOAD_LISTEN": f"127.0.0.1:{free_ports(1)[0]}",
        "UPLOAD_SWEEP_SECONDS": "0.1",
        "SHUTDOWN_DELAY_SECONDS": "0",
    }
    with running_with_clock(offset, environment, "services.upload"):
        await wait_until_handled(backends, [alive, old])
    assert (await process.store.get(alive)).upload.state is State.RECEIVING
    assert (await process.store.get(old)).upload.state is State.EXPIRED

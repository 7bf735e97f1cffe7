"""A fault at any await point of a take over a single connection.

For each client, a first run counts the await points. Then the take is uploaded once for each
of them and each kind of fault. Afterwards either the job has the recording, or the call
failed and S3 has nothing of the take after the reapers.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from itertools import starmap
from random import randrange
from uuid import UUID

import pytest

from services.upload import take_session
from services.upload.models import recording_key
from tests.e2e.uploading import wav
from tests.integration.upload.faults import Fault, Faults
from tests.integration.upload.process import MIB, PART, TOKEN_ID, Backends, Process
from tests.integration.upload.sending import Send, at_once, slowly

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

SMALL = 20_000
LARGE = PART + MIB // 4
CONCURRENT_RUNS = 8


@dataclass(frozen=True)
class Case:
    """One run with a fault. where: the fault and its await point."""

    where: str
    content: bytes
    job_id: UUID
    has_succeeded: bool

    async def assert_queued_or_nothing_left(self, backends: Backends) -> None:
        """The job has the recording; or the call failed, and S3 has nothing."""
        key = recording_key(TOKEN_ID, self.job_id)
        state = sha256 = None
        if await backends.has_job(self.job_id):
            state, sha256 = await backends.job(self.job_id)
        if state == "queued":
            assert sha256 is not None
            assert sha256 == hashlib.sha256(self.content).digest(), self.where
            assert await backends.sha256(key) == sha256, self.where
            return
        # A job that was opened when the process died fails by its own time limit.
        assert state in (None, "opened", "uploading", "failed"), self.where
        assert not self.has_succeeded, self.where
        assert await backends.stored_objects(key) == [], self.where
        assert await backends.multipart_uploads(key) == [], self.where


async def run(backends: Backends, send: Send, size: int, faults: Faults, where: str) -> Case:
    """Upload a take in its own process."""
    content, jobs = wav(size, seed=randrange(2**32)), list[UUID]()
    process = Process(backends, faults)

    async def upload() -> None:
        await process.upload_take(send(content, faults), jobs.append)

    faults.session = asyncio.create_task(upload())
    await asyncio.wait([faults.session])
    has_succeeded = not faults.session.cancelled() and faults.session.exception() is None
    assert faults.is_dead or process.budget.free == process.budget_bytes, where
    return Case(where, content, jobs[0], has_succeeded)


async def run_all(backends: Backends, send: Send, size: int, fault: Fault) -> list[Case]:
    """Upload a take once for each await point, several in parallel."""
    no_faults = Faults()
    undisturbed = await run(backends, send, size, no_faults, "no fault")
    assert undisturbed.has_succeeded
    limit = asyncio.Semaphore(CONCURRENT_RUNS)

    async def run_one(at: int, point: str) -> Case:
        async with limit:
            where = f"{fault.name} at {at}: {point}"
            return await run(backends, send, size, Faults(fault, at), where)

    cases = await asyncio.gather(*starmap(run_one, enumerate(no_faults.points)))
    return [undisturbed, *cases]


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize(
    ("send", "size"),
    [
        pytest.param(at_once, SMALL, id="at once"),
        pytest.param(slowly, SMALL, id="slow"),
        pytest.param(at_once, LARGE, id="larger than a part"),
    ],
)
async def test_a_take_is_queued_or_leaves_nothing_in_s3(
    backends: Backends, monkeypatch: pytest.MonkeyPatch, send: Send, size: int, fault: Fault
) -> None:
    # Slow takes are opened sooner, so that the test takes less time.
    monkeypatch.setattr(take_session, "OPEN_SECONDS", 0.05)
    cases = await run_all(backends, send, size, fault)
    process = Process(backends)
    for _ in range(2):
        await process.reap(await backends.uploads_of([case.job_id for case in cases]))
    await process.reap_orphans()
    for case in cases:
        await case.assert_queued_or_nothing_left(backends)

"""A fault at any await point of a session loses no committed byte, and leaves nothing behind.

For each scenario, a first run counts the await points. Then the scenario runs once for
each of them and each kind of fault. Afterwards, in a new process:

- all committed bytes are in S3;
- a resumed upload completes with the right SHA-256;
- after the reaper has run, S3 has nothing of an abandoned upload.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from itertools import starmap
from random import randrange
from typing import Any
from uuid import UUID

import pytest

from services.runtime.callers import TRUSTED
from services.upload.checksums import Checksum
from services.upload.memory_budget import MemoryBudget
from services.upload.models import Kind, Plan, UploadRecord
from services.upload.session import PartialData, open_session
from services.upload.state import OPEN, State
from services.upload.store import UploadStore
from services.upload.stream import Finish
from tests.e2e.uploading import wav
from tests.integration.upload.faults import Fault, Faults
from tests.integration.upload.process import (
    MIB,
    PART,
    Backends,
    Process,
    assert_committed_is_in_s3,
    assert_nothing_left_in_s3,
    random_content,
    stream,
)

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

SMALL = 100_000
LARGE = PART + MIB // 4
AMPLE = 64 * MIB
CONCURRENT_RUNS = 8
HELD_ELSEWHERE = 6 * MIB
"""Memory that another upload of the process holds, in the scenario with little memory."""


async def write_all(process: Process, upload_id: UUID, content: bytes) -> None:
    """One write that finishes the upload."""
    await process.uploads.write(upload_id, TRUSTED, 0, stream(content, finish=True))


async def write_twice(process: Process, upload_id: UUID, content: bytes) -> None:
    """A write that ends within a part, and a write that finishes the upload."""
    cut = 3 * MIB
    await process.uploads.write(upload_id, TRUSTED, 0, stream(content[:cut], finish=False))
    await process.uploads.write(upload_id, TRUSTED, cut, stream(content[cut:], finish=True))


async def write_to_declared_size(process: Process, upload_id: UUID, content: bytes) -> None:
    """Two writes without a finish, as tus clients send them: the declared size ends the upload."""
    cut = len(content) // 2
    for offset, piece in ((0, content[:cut]), (cut, content[cut:])):
        await process.uploads.write(
            upload_id, TRUSTED, offset, stream(piece, finish=False), exactly=True, size=len(content)
        )


async def write_with_checksum(process: Process, upload_id: UUID, content: bytes) -> None:
    """A write with a checksum, which is verified before a checkpoint."""
    checksum = Checksum("sha256", hashlib.sha256(content).digest())
    await process.uploads.write(
        upload_id, TRUSTED, 0, stream(content, finish=True), checksum=checksum
    )


async def write_one_shot(process: Process, upload_id: UUID, content: bytes) -> None:
    """A one-shot upload: one session, which discards partial data."""
    record = await UploadStore(process.backends.database).get(upload_id)
    async with open_session(process.resources, record, PartialData.DISCARD) as session:
        finish = await session.receive(stream(content, finish=True))
        await session.complete(finish or Finish())


@dataclass(frozen=True)
class Scenario:
    """The requests of a client.

    budget_bytes: the memory budget of the process. With little memory, it uses tail objects.
    """

    write: Callable[[Process, UUID, bytes], Coroutine[Any, Any, None]]
    size: int
    budget_bytes: int = AMPLE
    ends_at_size: bool = False
    kind: Kind = Kind.PARTIAL

    def plan(self, content: bytes) -> Plan:
        size = len(content) if self.ends_at_size else None
        resumable = self.write is not write_one_shot
        token_id = 1 if self.kind is Kind.RECORDING else 0
        return Plan(
            self.kind, token_id, size=size, ends_at_size=self.ends_at_size, resumable=resumable
        )

    def content(self) -> bytes:
        """Content that no other run has; a recording begins as a WAV file."""
        if self.kind is Kind.RECORDING:
            return wav(self.size, seed=randrange(2**32))
        return random_content(self.size)


RESUMABLE = {
    "small": Scenario(write_all, SMALL),
    "small, ends at its size": Scenario(write_to_declared_size, SMALL, ends_at_size=True),
    "parts, little memory": Scenario(write_twice, LARGE, budget_bytes=2 * PART),
    "parts, ends at its size": Scenario(write_to_declared_size, LARGE, ends_at_size=True),
    "small, with a checksum": Scenario(write_with_checksum, SMALL),
}
WITH_CHECKSUM = {"parts": Scenario(write_with_checksum, LARGE)}
# Less than the head of a file: the media type is known only when all bytes have arrived.
RECORDINGS = {
    "resumable": Scenario(write_to_declared_size, 20_000, ends_at_size=True, kind=Kind.RECORDING),
    "one-shot": Scenario(write_one_shot, 20_000, kind=Kind.RECORDING),
}
ONE_SHOT = {
    "small": Scenario(write_one_shot, SMALL),
    "parts": Scenario(write_one_shot, LARGE),
}


@dataclass(frozen=True)
class Case:
    """One run of a scenario with a fault. where: the fault and its await point."""

    where: str
    record: UploadRecord
    content: bytes
    has_succeeded: bool

    @property
    def upload_id(self) -> UUID:
        return self.record.upload.upload_id

    async def assert_stored(self, backends: Backends) -> None:
        expected = hashlib.sha256(self.content).digest()
        assert await backends.sha256(self.record.object_key) == expected, self.where


def hold_memory(budget: MemoryBudget, faults: Faults) -> None:
    """Hold memory until the session has written two tail objects."""
    assert budget.try_acquire(HELD_ELSEWHERE)

    def reached(points: list[str]) -> None:
        if points[-1] == "put" and points.count("put") == 2:
            budget.release(HELD_ELSEWHERE)

    faults.reached = reached


async def run(backends: Backends, scenario: Scenario, faults: Faults, where: str) -> Case:
    """Run a scenario in its own process."""
    content = scenario.content()
    record = await Process(backends).create(scenario.plan(content))
    process = Process(backends, faults, scenario.budget_bytes)
    if scenario.budget_bytes < AMPLE:
        hold_memory(process.budget, faults)
    writing: asyncio.Task[None] = asyncio.create_task(
        scenario.write(process, record.upload.upload_id, content)
    )
    faults.session = writing
    await asyncio.wait([writing])
    has_succeeded = not writing.cancelled() and writing.exception() is None
    return Case(where, record, content, has_succeeded)


async def run_all(backends: Backends, scenario: Scenario, fault: Fault) -> list[Case]:
    """Run a scenario once for each of its await points, several in parallel."""
    no_faults = Faults()
    undisturbed = await run(backends, scenario, no_faults, "no fault")
    assert undisturbed.has_succeeded
    await undisturbed.assert_stored(backends)
    limit = asyncio.Semaphore(CONCURRENT_RUNS)

    async def run_one(at: int, point: str) -> Case:
        async with limit:
            return await run(
                backends, scenario, Faults(fault, at), f"{fault.name} at {at}: {point}"
            )

    return await asyncio.gather(*starmap(run_one, enumerate(no_faults.points)))


def each_fault(
    scenarios: dict[str, Scenario], faults_of_parts: Collection[Fault] = tuple(Fault)
) -> pytest.MarkDecorator:
    """Each scenario with each fault; faults_of_parts: for the slow files of several parts."""
    cases = [
        pytest.param(scenario, fault, id=f"{name}-{fault.name.lower()}")
        for name, scenario in scenarios.items()
        for fault in (Fault if scenario.size == SMALL else faults_of_parts)
    ]
    return pytest.mark.parametrize(("scenario", "fault"), cases)


@each_fault(RESUMABLE)
async def test_an_interrupted_upload_resumes_at_its_committed_size(
    backends: Backends, scenario: Scenario, fault: Fault
) -> None:
    await assert_resumable(backends, scenario, fault)


@each_fault(WITH_CHECKSUM, (Fault.FAILS, Fault.DIES))
async def test_an_interrupted_write_with_a_checksum_resumes(
    backends: Backends, scenario: Scenario, fault: Fault
) -> None:
    await assert_resumable(backends, scenario, fault)


async def assert_resumable(backends: Backends, scenario: Scenario, fault: Fault) -> None:
    cases = await run_all(backends, scenario, fault)
    process = Process(backends)
    for case in cases:
        interrupted = await process.record(case.upload_id)
        if interrupted.upload.state in OPEN:
            await assert_committed_is_in_s3(backends, interrupted)
        offset = interrupted.progress.size
        rest = stream(case.content[offset:], finish=True)
        resumed = await process.uploads.write(case.upload_id, TRUSTED, offset, rest)
        assert resumed.state is State.COMPLETED, case.where
        await case.assert_stored(backends)
    await process.reap([case.upload_id for case in cases])
    for case in cases:
        await assert_nothing_left_in_s3(backends, case.record)


@each_fault(RESUMABLE, (Fault.CANCELLED, Fault.DIES))
async def test_an_abandoned_upload_completes_or_leaves_nothing_in_s3(
    backends: Backends, scenario: Scenario, fault: Fault
) -> None:
    cases = await run_all(backends, scenario, fault)
    process = Process(backends)
    open_cases = [
        case for case in cases if (await process.uploads.get(case.upload_id, TRUSTED)).state in OPEN
    ]
    await process.reap([case.upload_id for case in open_cases])
    for case in open_cases:
        state = (await process.uploads.get(case.upload_id, TRUSTED)).state
        assert state in (State.COMPLETED, State.EXPIRED), case.where
        if state is State.EXPIRED:
            assert not case.has_succeeded, case.where
            await assert_nothing_left_in_s3(backends, case.record)
        else:
            await case.assert_stored(backends)
    await process.reap([case.upload_id for case in cases])
    for case in cases:
        await assert_nothing_left_in_s3(backends, case.record)


@each_fault(ONE_SHOT)
async def test_a_one_shot_upload_succeeds_or_leaves_nothing_in_s3(
    backends: Backends, scenario: Scenario, fault: Fault
) -> None:
    cases = await run_all(backends, scenario, fault)
    for case in cases:
        if case.has_succeeded:
            await case.assert_stored(backends)
    process = Process(backends)
    for _ in range(2):
        await process.reap([case.upload_id for case in cases])
    for case in cases:
        # The row of a one-shot upload is deleted only after its completion.
        if not case.has_succeeded and not case.where.endswith("delete"):
            await assert_nothing_left_in_s3(backends, case.record)


async def test_tail_objects_that_could_not_be_deleted_are_swept_later(backends: Backends) -> None:
    scenario = Scenario(write_one_shot, LARGE, budget_bytes=2 * PART)
    no_faults = Faults()
    await run(backends, scenario, no_faults, "no fault")
    # The session deletes its tail objects first, then its row.
    first_delete = Faults(Fault.FAILS, no_faults.points.index("delete"))
    case = await run(backends, scenario, first_delete, "S3 fails to delete a tail object")
    assert case.has_succeeded
    assert await backends.stored_objects(case.record.tail_prefix)
    await Process(backends).reap([case.upload_id])
    assert await backends.stored_objects(case.record.tail_prefix) == []


@each_fault(RECORDINGS)
async def test_a_recording_is_queued_for_analysis_or_leaves_nothing_in_s3(
    backends: Backends, scenario: Scenario, fault: Fault
) -> None:
    cases = await run_all(backends, scenario, fault)
    process = Process(backends)
    for _ in range(2):
        await process.reap([case.upload_id for case in cases])
    for case in cases:
        state, sha256 = await backends.job(case.record.upload.job_id)
        if state == "queued":
            assert sha256 == hashlib.sha256(case.content).digest(), case.where
            await case.assert_stored(backends)
        else:
            assert (state, case.has_succeeded) == ("failed", False), case.where
            await assert_nothing_left_in_s3(backends, case.record)


@each_fault({"resumable": RECORDINGS["resumable"]})
async def test_a_recording_whose_bytes_all_arrived_is_queued(
    backends: Backends, scenario: Scenario, fault: Fault
) -> None:
    process = Process(backends)
    for case in await run_all(backends, scenario, fault):
        if (await process.uploads.get(case.upload_id, TRUSTED)).committed_size < len(case.content):
            continue
        await process.make_due([case.upload_id])
        await process.reap_due()
        state, _ = await backends.job(case.record.upload.job_id)
        assert state == "queued", case.where
        await case.assert_stored(backends)

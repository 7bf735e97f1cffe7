"""A fault at every await point of a session loses nothing, and leaves nothing behind.

For each scenario, a first run counts the await points. Then the scenario runs once for
each of them and each kind of fault. Afterwards, in a new process:

- the committed size is really in S3;
- a resumed upload ends with the right SHA-256;
- once the reaper has handled an abandoned upload, S3 has nothing of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from itertools import starmap
from typing import Any
from uuid import UUID

import pytest

from services.upload.checksums import Checksum
from services.upload.memory_budget import MemoryBudget
from services.upload.models import Kind, Plan, UploadRecord
from services.upload.session import PartialData, open_session
from services.upload.state import OPEN, State
from services.upload.store import UploadStore
from services.upload.stream import Finish
from tests.integration.upload.faults import Fault, Faults
from tests.integration.upload.process import (
    MIB,
    PART,
    Parts,
    Process,
    assert_committed_is_in_s3,
    assert_nothing_left,
    random_content,
    stream,
)

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

SMALL = 100_000
LARGE = PART + MIB // 4
AMPLE = 64 * MIB
AT_ONCE = 8
HELD_ELSEWHERE = 6 * MIB
"""Memory that another upload of the process holds, in the scenario with little memory."""


async def write_all(process: Process, upload_id: UUID, content: bytes) -> None:
    """One write with the finish."""
    await process.uploads.write(upload_id, 0, stream(content, finish=True))


async def write_twice(process: Process, upload_id: UUID, content: bytes) -> None:
    """A write that ends within a part, and one that continues."""
    cut = 3 * MIB
    await process.uploads.write(upload_id, 0, stream(content[:cut], finish=False))
    await process.uploads.write(upload_id, cut, stream(content[cut:], finish=True))


async def write_until_size(process: Process, upload_id: UUID, content: bytes) -> None:
    """Two writes of an upload that ends at its declared size, as tus clients send them."""
    cut = len(content) // 2
    for offset, piece in ((0, content[:cut]), (cut, content[cut:])):
        await process.uploads.write(
            upload_id, offset, stream(piece, finish=False), exactly=True, size=len(content)
        )


async def write_verified(process: Process, upload_id: UUID, content: bytes) -> None:
    """A write whose checksum is verified before anything of it is saved."""
    checksum = Checksum("sha256", hashlib.sha256(content).digest())
    await process.uploads.write(upload_id, 0, stream(content, finish=True), checksum=checksum)


async def write_one_shot(process: Process, upload_id: UUID, content: bytes) -> None:
    """The whole file in one session, or nothing of it."""
    record = await UploadStore(process.parts.database).get(upload_id)
    async with open_session(process.resources, record, PartialData.DISCARD) as session:
        finish = await session.receive(stream(content, finish=True))
        await session.complete(finish or Finish())


@dataclass(frozen=True)
class Scenario:
    """What a client does. budget_bytes: of the process; little makes it use tail objects."""

    write: Callable[[Process, UUID, bytes], Coroutine[Any, Any, None]]
    size: int
    budget_bytes: int = AMPLE
    ends_at_size: bool = False

    def plan(self, content: bytes) -> Plan:
        size = len(content) if self.ends_at_size else None
        resumable = self.write is not write_one_shot
        return Plan(Kind.PARTIAL, size=size, ends_at_size=self.ends_at_size, resumable=resumable)


RESUMABLE = {
    "small": Scenario(write_all, SMALL),
    "small until its size": Scenario(write_until_size, SMALL, ends_at_size=True),
    "parts and little memory": Scenario(write_twice, LARGE, budget_bytes=2 * PART),
    "parts until its size": Scenario(write_until_size, LARGE, ends_at_size=True),
    "verified": Scenario(write_verified, SMALL),
}
VERIFIED = {"verified parts": Scenario(write_verified, LARGE)}
ONE_SHOT = {
    "small": Scenario(write_one_shot, SMALL),
    "parts": Scenario(write_one_shot, LARGE),
}


@dataclass(frozen=True)
class Case:
    """One run with a fault, and its outcome. where: the await point."""

    where: str
    record: UploadRecord
    content: bytes
    is_answered: bool

    @property
    def upload_id(self) -> UUID:
        return self.record.upload.upload_id

    async def assert_stored(self, parts: Parts) -> None:
        expected = hashlib.sha256(self.content).digest()
        assert await parts.sha256(self.record.object_key) == expected, self.where


def hold_memory(budget: MemoryBudget, faults: Faults) -> None:
    """Hold memory until the session has moved two tail objects out of its own."""
    assert budget.try_acquire(HELD_ELSEWHERE)

    def reached(points: list[str]) -> None:
        if points[-1] == "put" and points.count("put") == 2:
            budget.release(HELD_ELSEWHERE)

    faults.reached = reached


async def run(parts: Parts, scenario: Scenario, faults: Faults, where: str) -> Case:
    """Run a scenario in a process of its own."""
    content = random_content(scenario.size)
    record = await Process(parts).create(scenario.plan(content))
    process = Process(parts, faults, scenario.budget_bytes)
    if scenario.budget_bytes < AMPLE:
        hold_memory(process.budget, faults)
    writing: asyncio.Task[None] = asyncio.create_task(
        scenario.write(process, record.upload.upload_id, content)
    )
    faults.session = writing
    await asyncio.wait([writing])
    is_answered = not writing.cancelled() and writing.exception() is None
    return Case(where, record, content, is_answered)


async def run_all(parts: Parts, scenario: Scenario, fault: Fault) -> list[Case]:
    """Run a scenario once for each of its await points, several at once."""
    counted = Faults()
    whole = await run(parts, scenario, counted, "no fault")
    assert whole.is_answered
    await whole.assert_stored(parts)
    limit = asyncio.Semaphore(AT_ONCE)

    async def run_one(at: int, point: str) -> Case:
        async with limit:
            return await run(parts, scenario, Faults(fault, at), f"{fault.name} at {at}: {point}")

    return await asyncio.gather(*starmap(run_one, enumerate(counted.points)))


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
async def test_the_committed_size_is_in_s3_and_can_be_resumed(
    parts: Parts, scenario: Scenario, fault: Fault
) -> None:
    await assert_resumable(parts, scenario, fault)


@each_fault(VERIFIED, (Fault.FAILS, Fault.DIES))
async def test_a_write_with_a_checksum_can_be_resumed(
    parts: Parts, scenario: Scenario, fault: Fault
) -> None:
    await assert_resumable(parts, scenario, fault)


async def assert_resumable(parts: Parts, scenario: Scenario, fault: Fault) -> None:
    cases = await run_all(parts, scenario, fault)
    process = Process(parts)
    for case in cases:
        interrupted = await process.record(case.upload_id)
        if interrupted.upload.state in OPEN:
            await assert_committed_is_in_s3(parts, interrupted)
        offset = interrupted.progress.size
        rest = stream(case.content[offset:], finish=True)
        resumed = await process.uploads.write(case.upload_id, offset, rest)
        assert resumed.state is State.COMPLETED, case.where
        await case.assert_stored(parts)
    await process.reap([case.upload_id for case in cases])
    for case in cases:
        await assert_nothing_left(parts, case.record)


@each_fault(RESUMABLE, (Fault.CANCELLED, Fault.DIES))
async def test_an_abandoned_upload_is_completed_or_leaves_nothing(
    parts: Parts, scenario: Scenario, fault: Fault
) -> None:
    cases = await run_all(parts, scenario, fault)
    process = Process(parts)
    open_cases = [
        case for case in cases if (await process.uploads.get(case.upload_id)).state in OPEN
    ]
    await process.reap([case.upload_id for case in open_cases])
    for case in open_cases:
        state = (await process.uploads.get(case.upload_id)).state
        assert state in (State.COMPLETED, State.EXPIRED), case.where
        if state is State.EXPIRED:
            assert not case.is_answered, case.where
            await assert_nothing_left(parts, case.record)
        else:
            await case.assert_stored(parts)
    await process.reap([case.upload_id for case in cases])
    for case in cases:
        await assert_nothing_left(parts, case.record)


@each_fault(ONE_SHOT)
async def test_a_one_shot_upload_is_stored_or_leaves_nothing(
    parts: Parts, scenario: Scenario, fault: Fault
) -> None:
    cases = await run_all(parts, scenario, fault)
    for case in cases:
        if case.is_answered:
            await case.assert_stored(parts)
    process = Process(parts)
    for _ in range(2):
        await process.reap([case.upload_id for case in cases])
    for case in cases:
        # A row that was deleted belonged to an upload that had been handed over.
        if not case.is_answered and not case.where.endswith("delete"):
            await assert_nothing_left(parts, case.record)

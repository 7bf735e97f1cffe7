"""Upload sessions, the store and the reaper on real PostgreSQL and S3."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from random import randrange
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from services.runtime.callers import TRUSTED
from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectStore
from services.runtime.shared_errors import RequestIdReused
from services.runtime.uploaded_part import UploadedPart
from services.upload.checksums import Checksum
from services.upload.errors import (
    IncompleteUpload,
    SizeMismatch,
    UploadEnded,
    UploadNotFound,
    UploadSuperseded,
)
from services.upload.models import Kind, Plan, UploadRecord
from services.upload.session import PartialData, SessionResources, open_session
from services.upload.state import Event, State
from services.upload.stream import Finish
from tests.e2e.uploading import wav
from tests.integration.upload.faults import Died, Fault, Faults
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

pytestmark = pytest.mark.asyncio(loop_scope="package")

CONTENT = random_content(PART + MIB)


async def die_before_completion(backends: Backends, content: bytes, plan: Plan) -> Process:
    """Write and checkpoint all bytes, in a process that dies before it completes the upload."""
    process = Process(backends)
    record = await process.create(plan)
    process.upload_id = record.upload.upload_id
    acquired = await process.store.acquire(process.upload_id, 0, 0)
    assert acquired is not None
    await receive_and_checkpoint(process.resources, acquired, content)
    return process


async def receive_and_checkpoint(
    resources: SessionResources, record: UploadRecord, content: bytes
) -> None:
    """Receive bytes in one session, and save them."""
    async with open_session(resources, record, PartialData.KEEP) as session:
        await session.receive(stream(content, finish=False))
        await session.checkpoint()


async def write_with_interruption(
    process: Process, upload_id: UUID, interrupt: Callable[[], Awaitable[object]]
) -> None:
    """Receive bytes, let another process change the upload, then write a checkpoint."""
    acquired = await process.store.acquire(upload_id, 0, 0)
    assert acquired is not None
    async with open_session(process.resources, acquired, PartialData.KEEP) as session:
        await session.receive(stream(CONTENT[:MIB], finish=False))
        await interrupt()
        await session.checkpoint()


async def stop_in_the_middle(process: Process, record: UploadRecord) -> None:
    """Receive bytes of a one-shot upload, then fail as if the client had disconnected."""
    async with open_session(process.resources, record, PartialData.DISCARD) as session:
        await session.receive(stream(CONTENT[:MIB], finish=False))
        assert process.budget.free < process.budget_bytes
        raise IncompleteUpload


async def test_a_newer_session_supersedes_an_older_one(backends: Backends) -> None:
    older, newer = Process(backends), Process(backends)
    upload_id = (await older.create()).upload.upload_id

    async def write_more() -> None:
        await newer.uploads.write(upload_id, TRUSTED, 0, stream(CONTENT[: 2 * MIB], finish=False))

    with pytest.raises(UploadSuperseded):
        await write_with_interruption(older, upload_id, write_more)
    assert (await newer.uploads.get(upload_id, TRUSTED)).committed_size == 2 * MIB
    await newer.uploads.write(upload_id, TRUSTED, 2 * MIB, stream(CONTENT[2 * MIB :], finish=True))
    record = await newer.record(upload_id)
    assert await backends.sha256(record.object_key) == hashlib.sha256(CONTENT).digest()
    # The older session deleted the tail that it could not commit.
    assert await backends.stored_objects(record.tail_prefix) == []


async def test_a_session_of_a_cancelled_upload_receives_an_error(backends: Backends) -> None:
    older, newer = Process(backends), Process(backends)
    upload_id = (await older.create()).upload.upload_id
    with pytest.raises(UploadEnded):
        await write_with_interruption(
            older, upload_id, lambda: newer.uploads.cancel(upload_id, TRUSTED)
        )


async def test_a_part_number_is_never_used_twice(backends: Backends) -> None:
    process = Process(backends)
    upload_id = (await process.create()).upload.upload_id
    older = await process.record(upload_id)
    first = await process.writer_store.next_part_number(older)
    newer = await process.record(upload_id)
    second = await process.writer_store.next_part_number(newer)
    assert first is not None
    assert second is not None
    assert second > first
    assert await process.writer_store.next_part_number(older) is None


class FirstPartFails:
    """An object store that refuses the first part after it has stored the second."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._second_stored = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def put_part(
        self, key: str, s3_upload_id: str, number: int, content: Any
    ) -> UploadedPart:
        if number == 1:
            await self._second_stored.wait()
            raise StorageUnavailable
        part = await self._objects.put_part(key, s3_upload_id, number, content)
        self._second_stored.set()
        return part


async def test_a_part_is_committed_only_after_the_parts_before_it(backends: Backends) -> None:
    process, content = Process(backends), random_content(2 * PART + MIB)
    upload_id = (await process.create()).upload.upload_id
    acquired = await process.store.acquire(upload_id, 0, 0)
    assert acquired is not None
    objects = cast(ObjectStore, FirstPartFails(backends.objects))
    resources = replace(process.resources, objects=objects)
    with pytest.raises(StorageUnavailable):
        await receive_and_checkpoint(resources, acquired, content)
    assert (await process.uploads.get(upload_id, TRUSTED)).committed_size == 0
    await process.uploads.write(upload_id, TRUSTED, 0, stream(content, finish=True))
    record = await process.record(upload_id)
    assert await backends.sha256(record.object_key) == hashlib.sha256(content).digest()


async def test_a_stored_upload_accepts_no_more_bytes(backends: Backends) -> None:
    process = Process(backends)
    upload_id = (await process.create()).upload.upload_id
    content = CONTENT[:MIB]
    acquired = await process.store.acquire(upload_id, 0, 0)
    assert acquired is not None
    async with open_session(process.resources, acquired, PartialData.KEEP) as session:
        await session.receive(stream(content, finish=False))
        await session.complete(Finish())
        # As if the process had died before the completion handler was called.
        await backends.execute(
            "UPDATE upload.uploads SET state = 'stored', end_time = NULL"
            " WHERE upload_id = :upload_id",
            upload_id=upload_id,
        )
    with pytest.raises(SizeMismatch):
        await process.uploads.write(upload_id, TRUSTED, len(content), stream(b"more", finish=True))
    upload = await process.uploads.write(upload_id, TRUSTED, len(content), stream(b"", finish=True))
    assert upload.state is State.COMPLETED
    record = await process.record(upload_id)
    assert await backends.sha256(record.object_key) == hashlib.sha256(content).digest()


@pytest.mark.parametrize("size", [MIB, PART + MIB], ids=["in the tail", "in parts and the tail"])
async def test_the_reaper_completes_an_upload_that_has_all_bytes(
    backends: Backends, size: int
) -> None:
    content = CONTENT[:size]
    plan = Plan(Kind.PARTIAL, size=size, ends_at_size=True)
    process = await die_before_completion(backends, content, plan)
    await process.make_due([process.upload_id])
    await Process(backends).reap_due()
    record = await process.record(process.upload_id)
    assert record.upload.state is State.COMPLETED
    assert await backends.sha256(record.object_key) == hashlib.sha256(content).digest()
    assert await backends.stored_objects(record.tail_prefix) == []


async def test_the_reaper_does_not_interrupt_a_running_session(backends: Backends) -> None:
    process = Process(backends)
    upload_id = (await process.create()).upload.upload_id
    acquired = await process.store.acquire(upload_id, 0, 0)
    assert acquired is not None
    async with open_session(process.resources, acquired, PartialData.KEEP) as session:
        await session.receive(stream(CONTENT[:MIB], finish=False))
        await process.make_due([upload_id])
        await Process(backends).reap_due()
        await session.receive(stream(CONTENT[MIB:], finish=False))
        await session.complete(Finish())
    record = await process.record(upload_id)
    assert await backends.sha256(record.object_key) == hashlib.sha256(CONTENT).digest()


async def test_an_abandoned_upload_expires_and_leaves_nothing_in_s3(backends: Backends) -> None:
    process = await die_before_completion(backends, CONTENT, Plan(Kind.PARTIAL))
    record = await process.record(process.upload_id)
    await assert_committed_is_in_s3(backends, record)
    await process.reap([process.upload_id])
    assert (await process.uploads.get(process.upload_id, TRUSTED)).state is State.EXPIRED
    await assert_nothing_left_in_s3(backends, record)


async def test_a_repeated_request_id_returns_the_same_upload(backends: Backends) -> None:
    process, request_id = Process(backends), str(uuid4())
    plan = Plan(Kind.PARTIAL, size=MIB, request_id=request_id)
    first = await process.uploads.create(plan)
    assert await process.uploads.create(plan) == first
    with pytest.raises(RequestIdReused):
        await process.uploads.create(Plan(Kind.PARTIAL, size=2 * MIB, request_id=request_id))


async def test_a_cancelled_upload_stays_cancelled(backends: Backends) -> None:
    process = Process(backends)
    upload_id = (await process.create()).upload.upload_id
    await process.uploads.cancel(upload_id, TRUSTED)
    record = await process.record(upload_id)
    for event in (Event.HANDED_OVER, Event.FAILED, Event.EXPIRED):
        assert not await process.writer_store.end(record, event, record.lifetime)
    assert not await process.writer_store.checkpoint(
        record, record.progress, (), Event.CHECKPOINTED
    )
    assert (await process.uploads.get(upload_id, TRUSTED)).state is State.CANCELLED


async def test_writes_release_all_memory(backends: Backends) -> None:
    process = Process(backends)
    for content, finish in ((CONTENT, True), (CONTENT[:MIB], False), (CONTENT[:1000], True)):
        upload_id = (await process.create()).upload.upload_id
        await process.uploads.write(upload_id, TRUSTED, 0, stream(content, finish=finish))
        assert process.budget.free == process.budget_bytes


async def test_a_failed_upload_returns_its_memory_before_its_clean_up(backends: Backends) -> None:
    process = Process(backends)
    free_at: dict[str, int] = {}
    process.faults.reached = lambda points: free_at.update({points[-1]: process.budget.free})
    record = await process.create(Plan(Kind.PARTIAL, resumable=False))
    with pytest.raises(IncompleteUpload):
        await stop_in_the_middle(process, record)
    # Others may use the memory while the clean-up waits for PostgreSQL and S3.
    assert free_at["end"] == free_at["delete_all"] == process.budget_bytes


async def test_an_interrupted_concatenation_can_be_repeated_after_two_minutes(
    backends: Backends,
) -> None:
    content = wav(100_000, seed=randrange(2**32))
    process, upload_ids = Process(backends), []
    for piece in (content[:50_000], content[50_000:]):
        upload_ids.append((await process.create()).upload.upload_id)
        await process.uploads.write(upload_ids[-1], TRUSTED, 0, stream(piece, finish=True))
    plan = Plan(
        Kind.RECORDING,
        backends.token_id,
        request_id=str(uuid4()),
        ends_at_size=True,
        is_concatenation=True,
    )
    with pytest.raises(Died):
        await Process(backends, Faults(Fault.DIES, at="read")).uploads.concatenate(
            plan, TRUSTED, upload_ids
        )
    await process.age(plan.request_id, timedelta(minutes=2))
    await process.reap_due()
    upload = await process.uploads.concatenate(plan, TRUSTED, upload_ids)
    _, sha256 = await backends.job(upload.job_id)
    assert sha256 == hashlib.sha256(content).digest()


async def test_a_completed_partial_upload_stays_until_it_expires(backends: Backends) -> None:
    process = Process(backends)
    upload_id = (await process.create()).upload.upload_id
    for offset in (0, MIB):
        finish = offset > 0
        content = CONTENT[offset : offset + MIB]
        await process.uploads.write(upload_id, TRUSTED, offset, stream(content, finish=finish))
    await process.make_due([upload_id])
    await process.reap_due()
    record = await process.store.get(upload_id)
    assert await backends.sha256(record.object_key) == hashlib.sha256(CONTENT[: 2 * MIB]).digest()


async def test_a_forgotten_upload_is_deleted_when_superseded_writers_have_noticed(
    backends: Backends,
) -> None:
    process = Process(backends)
    upload_id = (await process.create()).upload.upload_id
    await process.uploads.write(upload_id, TRUSTED, 0, stream(CONTENT[:MIB], finish=False))
    await process.uploads.write(upload_id, TRUSTED, MIB, stream(CONTENT[MIB:], finish=True))
    await process.uploads.terminate(upload_id, TRUSTED)
    with pytest.raises(UploadNotFound):
        await process.uploads.get(upload_id, TRUSTED)
    await process.reap_due()
    record = await process.store.get(upload_id)
    assert await backends.stored_objects(record.object_key)
    await process.make_due([upload_id])
    await process.reap_due()
    await assert_nothing_left_in_s3(backends, record)
    with pytest.raises(UploadNotFound):
        await process.store.get(upload_id)


async def test_an_ended_upload_cannot_be_terminated_again(backends: Backends) -> None:
    process = Process(backends)
    upload_id = (await process.create()).upload.upload_id
    record = await process.record(upload_id)
    assert await process.writer_store.end(record, Event.FAILED, record.lifetime, "UPLOAD_LOST")
    with pytest.raises(UploadEnded):
        await process.uploads.terminate(upload_id, TRUSTED)


async def test_the_reaper_does_not_expire_an_upload_that_has_just_resumed(
    backends: Backends,
) -> None:
    process = Process(backends)
    seen = await process.create()
    await process.uploads.write(
        seen.upload.upload_id, TRUSTED, 0, stream(CONTENT[:MIB], finish=False)
    )
    # The reaper read the upload before the write: it must not postpone what it has not seen.
    before = await process.store.get(seen.upload.upload_id)
    await process.writer_store.postpone(seen)
    assert await process.store.get(seen.upload.upload_id) == before


async def test_a_repeated_write_with_a_checksum_is_verified_as_a_whole(backends: Backends) -> None:
    process = Process(backends)
    upload_id = (await process.create()).upload.upload_id
    content = CONTENT[:MIB]
    await process.uploads.write(upload_id, TRUSTED, 0, stream(content[:1000], finish=False))
    # Its first 1,000 bytes are saved already; the checksum covers them too.
    checksum = Checksum("sha256", hashlib.sha256(content).digest())
    upload = await process.uploads.write(
        upload_id, TRUSTED, 0, stream(content, finish=True), checksum=checksum
    )
    assert upload.state is State.COMPLETED

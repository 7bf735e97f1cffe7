"""Takes over a single connection, on real PostgreSQL, S3 and the analysis service.

A take that arrives at once is one PUT and one call to analysis. One that is slow or larger
than a part gets a job and a row first.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from random import randrange
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from services.runtime.errors import StorageUnavailable
from services.runtime.shared_errors import AnalysisUnavailable, RequestIdReused
from services.upload import orphans, take_session
from services.upload.errors import (
    ChecksumMismatch,
    EmptyRecording,
    IncompleteUpload,
    RecordingTooLong,
    SizeMismatch,
    TooManyOpenUploads,
    UnsupportedAudio,
)
from services.upload.models import recording_key
from services.upload.orphans import PLAUSIBLE_ORPHANS, OrphanReaper
from services.upload.stream import Finish
from tests.e2e.uploading import wav
from tests.integration.upload.faults import Died, Fault, Faults
from tests.integration.upload.process import MIB, PART, TOKEN_ID, Backends, Process, aged, stream
from tests.integration.upload.sending import Send, at_once, slowly

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

SMALL = 20_000
LARGE = PART + MIB // 4


def new_take(size: int = SMALL) -> bytes:
    """A recording that no other test has."""
    return wav(size, seed=randrange(2**32))


@pytest.fixture
def opens_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow takes are opened sooner, so that the tests take less time."""
    monkeypatch.setattr(take_session, "OPEN_SECONDS", 0.05)


async def assert_queued(backends: Backends, job_id: UUID, content: bytes) -> None:
    """The job has the recording, and S3 has it unchanged."""
    digest = hashlib.sha256(content).digest()
    assert await backends.job(job_id) == ("queued", digest)
    assert await backends.sha256(recording_key(TOKEN_ID, job_id)) == digest


async def test_a_take_that_arrives_at_once_is_one_put_and_one_call(backends: Backends) -> None:
    process, jobs, content = Process(backends), list[UUID](), new_take()
    job_id = await process.upload_take(stream(content, finish=True), jobs.append)
    assert jobs == [job_id]
    assert process.faults.points == ["put", "submit_recording"]
    await assert_queued(backends, job_id, content)


async def test_a_take_that_arrives_at_once_needs_no_database(backends: Backends) -> None:
    process = Process(backends.without_database(), open_uploads=10, daily_bytes=MIB)
    content = new_take()
    job_id = await process.upload_take(stream(content, finish=True))
    await assert_queued(backends, job_id, content)


@pytest.mark.usefixtures("opens_soon")
async def test_a_slow_take_can_be_watched_while_it_uploads(backends: Backends) -> None:
    process, jobs, content = Process(backends), list[UUID](), new_take()

    async def watching() -> AsyncGenerator[bytes | Finish]:
        yield content[:1000]
        while not await backends.has_job(jobs[0]):
            pass
        while (await backends.job(jobs[0]))[0] != "uploading":
            pass
        yield content[1000:]
        yield Finish()

    job_id = await process.upload_take(watching(), jobs.append)
    assert jobs == [job_id]
    await assert_queued(backends, job_id, content)


@pytest.mark.parametrize(
    ("content", "finish", "error"),
    [
        pytest.param(b"no audio", Finish(), UnsupportedAudio, id="no audio"),
        pytest.param(b"", Finish(), EmptyRecording, id="empty"),
        pytest.param(wav(SMALL), Finish(size=1), SizeMismatch, id="other size"),
        pytest.param(wav(SMALL), Finish(sha256=bytes(32)), ChecksumMismatch, id="other SHA-256"),
        pytest.param(wav(SMALL, byte_rate=2), Finish(), RecordingTooLong, id="too long"),
        pytest.param(wav(SMALL), None, IncompleteUpload, id="no end"),
    ],
)
async def test_a_refused_take_reaches_neither_s3_nor_analysis(
    backends: Backends, content: bytes, finish: Finish | None, error: type[Exception]
) -> None:
    async def refused() -> AsyncGenerator[bytes | Finish]:
        yield content
        if finish is not None:
            yield finish

    process = Process(backends)
    with pytest.raises(error):
        await process.upload_take(refused())
    assert process.faults.points == []


async def test_a_take_that_finds_no_memory_completes_when_others_release_theirs(
    backends: Backends,
) -> None:
    process, held = Process(backends, budget_bytes=2 * PART), 2 * PART - MIB // 2
    assert process.budget.try_acquire(held)

    def reached(points: list[str]) -> None:
        # The bytes in memory become a tail object, which needs a row.
        if points[-1] == "put":
            process.budget.release(held)
            process.faults.reached = lambda _: None

    process.faults.reached = reached
    content = new_take(MIB)
    job_id = await process.upload_take(stream(content, finish=True, piece=60_000))
    assert "open_job" in process.faults.points
    await assert_queued(backends, job_id, content)
    assert process.budget.free == process.budget_bytes


class TestRequestIds:
    async def test_a_repeat_returns_the_first_job_and_keeps_one_recording(
        self, backends: Backends
    ) -> None:
        process, content, request_id = Process(backends), new_take(), str(uuid4())
        jobs: list[UUID] = []
        job_id, again = [
            await process.upload_take(
                stream(content, finish=True), jobs.append, request_id=request_id
            )
            for _ in range(2)
        ]
        assert job_id == again
        assert jobs == [job_id, job_id]
        await assert_queued(backends, job_id, content)
        assert await backends.recordings_with(content) == [recording_key(TOKEN_ID, job_id)]

    @pytest.mark.usefixtures("opens_soon")
    @pytest.mark.parametrize(("send", "size"), [(slowly, SMALL), (at_once, LARGE)])
    async def test_a_slow_or_large_repeat_is_compared_and_not_stored(
        self, backends: Backends, send: Send, size: int
    ) -> None:
        content, request_id = new_take(size), str(uuid4())
        first = await Process(backends).upload_take(
            stream(content, finish=True), request_id=request_id
        )
        again, jobs = Process(backends), list[UUID]()
        job_id = await again.upload_take(
            send(content, again.faults), jobs.append, request_id=request_id
        )
        assert (job_id, jobs) == (first, [first])
        assert again.faults.points == ["open_job"]
        assert again.budget.free == again.budget_bytes

    @pytest.mark.usefixtures("opens_soon")
    @pytest.mark.parametrize("send", [at_once, slowly])
    async def test_another_recording_is_refused_and_leaves_nothing_in_s3(
        self, backends: Backends, send: Send
    ) -> None:
        request_id = str(uuid4())
        await Process(backends).upload_take(stream(new_take(), finish=True), request_id=request_id)
        process, other = Process(backends), new_take()
        with pytest.raises(RequestIdReused):
            await process.upload_take(send(other, process.faults), request_id=request_id)
        assert await backends.recordings_with(other) == []

    async def test_a_failed_request_can_be_repeated(self, backends: Backends) -> None:
        process, content, request_id = Process(backends), new_take(), str(uuid4())
        with pytest.raises(IncompleteUpload):
            await process.upload_take(stream(content, finish=False), request_id=request_id)
        job_id = await process.upload_take(stream(content, finish=True), request_id=request_id)
        await assert_queued(backends, job_id, content)


async def test_a_recording_stays_when_the_answer_of_analysis_is_lost(backends: Backends) -> None:
    process, jobs = Process(backends, Faults(Fault.ANSWER_LOST, 1)), list[UUID]()
    content = new_take()
    with pytest.raises(AnalysisUnavailable):
        await process.upload_take(stream(content, finish=True), jobs.append)
    await Process(backends).reap_orphans()
    await assert_queued(backends, jobs[0], content)


async def test_the_recording_of_a_process_that_died_before_the_submission_is_deleted(
    backends: Backends,
) -> None:
    dead, jobs = Process(backends, Faults(Fault.DIES, 0)), list[UUID]()
    with pytest.raises(Died):
        await dead.upload_take(stream(new_take(), finish=True), jobs.append)
    orphan = recording_key(TOKEN_ID, jobs[0])
    assert await backends.stored_objects(orphan)
    content = new_take()
    kept = await Process(backends).upload_take(stream(content, finish=True))
    await Process(backends).reap_orphans()
    assert await backends.stored_objects(orphan) == []
    await assert_queued(backends, kept, content)


async def test_orphans_are_found_on_each_page(
    backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "PAGE", 2)
    keys = await old_recordings(backends, timedelta(hours=7), (1, 1, 12, 2, 3))
    await reap_orphans(Process(backends), timedelta(hours=7), pages=3)
    assert [await backends.stored_objects(key) for key in keys] == [[]] * 5


async def test_recordings_are_kept_when_analysis_has_lost_its_jobs(backends: Backends) -> None:
    age, lost = timedelta(hours=5), PLAUSIBLE_ORPHANS + 1
    keys = await old_recordings(backends, age, [TOKEN_ID] * lost)
    prefix = keys[0].rpartition("/")[0]
    await reap_orphans(Process(backends), age, pages=1)
    assert len(await backends.stored_objects(prefix)) == lost
    await backends.objects.delete(keys[0])
    await reap_orphans(Process(backends), age, pages=1)
    assert await backends.stored_objects(prefix) == []


async def old_recordings(backends: Backends, age: timedelta, token_ids: Sequence[int]) -> list[str]:
    """Store a recording without a job for each token, all of the same hour; returns their keys."""
    first = aged(uuid7(), age).int
    keys = [
        recording_key(token_id, UUID(int=first + number))
        for number, token_id in enumerate(token_ids)
    ]
    await asyncio.gather(*(backends.objects.put(key, b"x", "audio/wav") for key in keys))
    return keys


async def reap_orphans(process: Process, age: timedelta, pages: int) -> None:
    """Check the recordings of this age, and of the hour before: a new hour may have begun."""
    lookback = age + timedelta(hours=1)
    reaper = OrphanReaper(process.backends.objects, process.analysis, lookback)
    for _ in range(pages + 1):
        await reaper.reap()


async def test_takes_are_submitted_in_the_order_of_their_arrival(backends: Backends) -> None:
    process, arrived = Process(backends, submissions=1), list[UUID]()

    async def upload() -> UUID:
        # The job is known as soon as the catalog has answered; the bytes are there already.
        return await process.upload_take(stream(new_take(), finish=True), arrived.append)

    finished = [await each for each in asyncio.as_completed([upload() for _ in range(5)])]
    assert finished == arrived
    # Each one is stored and submitted before the next one.
    assert process.faults.points == ["put", "submit_recording"] * 5


async def test_a_client_sends_a_limited_number_of_takes_at_the_same_time(
    backends: Backends,
) -> None:
    process, client = Process(backends, open_uploads=2), f"client {uuid4()}"
    started, may_end = list[asyncio.Event](), asyncio.Event()

    async def halted(has_started: asyncio.Event) -> AsyncGenerator[bytes | Finish]:
        has_started.set()
        yield new_take()
        await may_end.wait()
        yield Finish()

    started = [asyncio.Event(), asyncio.Event()]
    first = [
        asyncio.create_task(process.upload_take(halted(each), client=client)) for each in started
    ]
    await asyncio.gather(*(each.wait() for each in started))
    with pytest.raises(TooManyOpenUploads):
        await process.upload_take(stream(new_take(), finish=True), client=client)
    await process.upload_take(stream(new_take(), finish=True), client="another client")
    may_end.set()
    await asyncio.gather(*first)
    await process.upload_take(stream(new_take(), finish=True), client=client)


async def test_a_take_that_s3_refuses_has_no_job(backends: Backends) -> None:
    process, jobs = Process(backends, Faults(Fault.FAILS, 0)), list[UUID]()
    with pytest.raises(StorageUnavailable):
        await process.upload_take(stream(new_take(), finish=True), jobs.append)
    assert not await backends.has_job(jobs[0])


@pytest.mark.usefixtures("opens_soon")
async def test_takes_complete_while_analysis_is_an_older_release(older_backends: Backends) -> None:
    process, content = Process(older_backends), new_take()
    job_id = await process.upload_take(stream(content, finish=True))
    await assert_queued(older_backends, job_id, content)
    await process.reap_orphans()
    await assert_queued(older_backends, job_id, content)

"""Each step in the life of a take costs one statement, which commits by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from services.analysis.jobs import State
from services.analysis.store import JobQueue, JobStore, Reuse, Submission
from services.analysis.store import settlements as settlement_of
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from tests.integration.analysis.jobs import (
    LONG,
    NOW,
    RECORDING,
    WORKER,
    claimed,
    extended,
    opened,
    queued,
    settled,
)
from tests.integration.plans import statements_of

REUSE = Reuse(None)

Step = Callable[[JobStore, UUID], Awaitable[object]]


async def assert_one_statement(database: Database, call: Awaitable[object]) -> None:
    statements = [statement for statement, _ in await statements_of(database, call)]
    assert len(statements) == 1, statements


async def test_a_take_from_its_submission_to_its_result_is_four_statements(
    database: Database, store: JobStore, queue: JobQueue
) -> None:
    submission = Submission(random_uuid7(), 1, RECORDING, 1)

    async def live() -> None:
        await store.submit(submission, LONG, REUSE)
        (claim,), _ = await queue.claim_due(16, 16, WORKER, LONG)
        await settled(queue, settlement_of.accepted(claim, LONG, None, LONG))
        await store.complete(submission.job_id, b"result", "1")

    assert len(await statements_of(database, live())) == 4
    assert (await store.get(submission.job_id)).state is State.COMPLETED


@pytest.mark.parametrize(
    "step",
    [
        lambda store, job_id: store.start_upload(job_id, LONG),
        lambda store, job_id: store.attach_recording(job_id, RECORDING, 1, LONG, None),
        lambda store, job_id: store.fail_upload(job_id, "INCOMPLETE_UPLOAD", {}),
        lambda store, job_id: store.cancel(job_id),
        lambda store, job_id: store.complete(job_id, b"", ""),
        lambda store, job_id: store.get(job_id),
        lambda store, job_id: store.get_many([job_id]),
        lambda store, job_id: store.compare({job_id: 0}),
        lambda store, _: store.create(random_uuid7(), 1, LONG, "request"),
    ],
    ids=[
        *("start", "attach", "fail", "cancel", "illegal"),
        *("get", "get many", "compare", "create"),
    ],
)
async def test_a_step_of_an_opened_job_is_one_statement(
    database: Database, store: JobStore, step: Step
) -> None:
    job_id = await opened(store)
    await assert_one_statement(database, step(store, job_id))


@pytest.mark.parametrize(
    "step",
    [
        lambda store, job_id: store.complete(job_id, b"", ""),
        lambda store, job_id: store.fail(job_id, "SILENT_AUDIO", ""),
        lambda store, job_id: store.advance(job_id, 95, "scoring"),
    ],
    ids=["results", "failure", "progress"],
)
async def test_a_report_is_one_statement(database: Database, store: JobStore, step: Step) -> None:
    job_id = await queued(store)
    await assert_one_statement(database, step(store, job_id))


async def test_holding_a_claim_is_one_statement(
    database: Database, store: JobStore, queue: JobQueue
) -> None:
    await queued(store)
    claim = await claimed(queue)
    await assert_one_statement(database, extended(queue, claim, LONG))
    await assert_one_statement(database, queue.set_token_revision(claim, 2))


async def test_timing_out_is_one_statement(
    database: Database, store: JobStore, queue: JobQueue
) -> None:
    await opened(store, NOW)
    await store.attach_recording(await opened(store), RECORDING, 1, timedelta(0), None)
    await assert_one_statement(database, queue.time_out(10))

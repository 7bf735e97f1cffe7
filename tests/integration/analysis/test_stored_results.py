"""Results that earlier versions stored are read without an error, whatever they contain."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from sqlalchemy import text

from services.analysis.converters import analysis_to, progress_to, result_to
from services.analysis.jobs import State
from services.analysis.store import JobStore, Reuse
from services.runtime.database import Database
from services.runtime.language import Language
from tests.integration.analysis.jobs import LONG, RECORDING, opened, queued

NOT_FINITE = {
    "score": float("nan"),
    "words": [{"start": float("inf")}, [float("-inf"), 1.5]],
    "text": "\x11 5",
}
SANITIZED = {"score": None, "words": [{"start": None}, [None, 1.5]], "text": "\x11 5"}


def nested(levels: int) -> dict[str, Any]:
    """An object in objects, `levels` deep."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


async def stored(store: JobStore, database: Database, result: dict[str, Any]) -> UUID:
    """A completed job whose row has this result."""
    job_id = await queued(store)
    await store.complete(job_id, b"", "1")
    struct = Struct()
    struct.update(result)
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE analysis.jobs SET result = :result WHERE job_id = :job_id"),
            {"result": struct.SerializeToString(), "job_id": job_id},
        )
    return job_id


async def messages(store: JobStore, job_id: UUID) -> list[Message]:
    """The job in the three messages that have its result."""
    job, analysis = await store.get(job_id), await store.get_analysis(job_id)
    return [
        result_to(job, Language.ENGLISH),
        progress_to(job, Language.ENGLISH),
        analysis_to(analysis, Language.ENGLISH),
    ]


async def test_numbers_that_json_does_not_have_are_null(
    store: JobStore, database: Database
) -> None:
    job_id = await stored(store, database, NOT_FINITE)
    for message in await messages(store, job_id):
        read = MessageToDict(message)
        assert (read["status"], read["result"]) == ("completed", SANITIZED)
        json.dumps(read, allow_nan=False)


@pytest.mark.parametrize("levels", [34, 60])
async def test_a_result_that_nests_too_deep_appears_as_a_failure(
    store: JobStore, database: Database, levels: int
) -> None:
    job_id = await stored(store, database, nested(levels))
    for message in await messages(store, job_id):
        read = MessageToDict(message, preserving_proto_field_name=True)
        assert (read["status"], read["failure_reason"]) == ("failed", "RESULT_UNREADABLE")
        assert "result" not in read
        assert read["message"].endswith("Upload the recording again.")


@pytest.mark.parametrize("result", [{}, nested(32), {"score": 1e308, "zero": -0.0}])
async def test_a_readable_result_is_unchanged(
    store: JobStore, database: Database, result: dict[str, Any]
) -> None:
    job_id = await stored(store, database, result)
    for message in await messages(store, job_id):
        assert MessageToDict(message).get("result", {}) == result


async def test_a_result_that_no_client_can_read_is_not_reused(
    store: JobStore, database: Database
) -> None:
    await stored(store, database, nested(60))
    job_id = await opened(store)
    transition = await store.attach_recording(job_id, RECORDING, 1, LONG, Reuse(None))
    assert transition.after is State.QUEUED

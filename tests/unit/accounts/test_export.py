"""The export is one JSON document, whatever the number of analyses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from services.accounts.converters import account_to
from services.accounts.export import export_document
from services.accounts.models import Account
from sori.analysis.v1 import analysis_pb2

ACCOUNT = Account(
    uuid4(), "dana@example.com", True, "다나", "ko", "Asia/Seoul", datetime(2026, 1, 1, tzinfo=UTC)
)


async def analyses(count: int) -> AsyncIterator[analysis_pb2.ExportedAnalysis]:
    for number in range(count):
        yield analysis_pb2.ExportedAnalysis(recording_url=f"https://s3/{number}")


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_the_export_is_one_json_document(count: int) -> None:
    pieces = [
        piece async for piece in export_document(account_to(ACCOUNT), [], [], analyses(count))
    ]
    document = json.loads(b"".join(pieces))
    assert document["account"]["name"] == "다나"
    assert [each["recording_url"] for each in document["analyses"]] == [
        f"https://s3/{number}" for number in range(count)
    ]

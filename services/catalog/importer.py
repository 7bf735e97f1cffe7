"""Imports: batches of records, written one transaction each, and how far they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field

from services.catalog.import_records import LineSplitter, LineTooLong, Record, record_of
from services.catalog.store import Imports, Outcome
from services.runtime.errors import FieldViolation, InvalidField

BATCH_RECORDS = 2_000
LINES_AT_ONCE = 100
"""How many lines are read before other calls get their turn."""
MAX_REFUSALS = 1_000


@dataclass
class Progress:
    """How far an import is. Refusals are those since the last report, by line."""

    last_line: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    refusals: list[tuple[int, str]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count what a batch came to."""
        self.created += outcome.created
        self.updated += outcome.updated
        self.unchanged += outcome.unchanged
        for line, reason in outcome.refused:
            self.refuse(line, reason)

    def refuse(self, line: int, reason: str) -> None:
        """Count a bad line."""
        self.refused += 1
        if len(self.refusals) < MAX_REFUSALS:
            self.refusals.append((line, reason))


async def imported(
    chunks: AsyncIterator[bytes], first_line: int, imports: Imports
) -> AsyncGenerator[Progress, None]:
    """Import the lines of a file from `first_line` on; a report after each batch.

    The last report comes when the file has ended. Errors: InvalidField when a line is
    longer than any resource needs.
    """
    progress, batch = Progress(), _Batch()
    async for number, line in _numbered(chunks):
        if number >= first_line:
            record = _read(number, line, progress)
            if record is not None and not batch.takes(record):
                progress.add(await imports.write(batch.emptied()))
                yield progress
                progress.refusals = []
            if record is not None:
                batch.add(record)
        progress.last_line = number
    progress.add(await imports.write(batch.emptied()))
    yield progress


class _Batch:
    """Records to be written together: each resource once, so that their order is kept."""

    def __init__(self) -> None:
        self._records: dict[object, Record] = {}

    def takes(self, record: Record) -> bool:
        return len(self._records) < BATCH_RECORDS and _identity(record) not in self._records

    def add(self, record: Record) -> None:
        self._records[_identity(record)] = record

    def emptied(self) -> list[Record]:
        records, self._records = list(self._records.values()), {}
        return records


def _identity(record: Record) -> object:
    return type(record), record.key


def _read(number: int, line: bytes, progress: Progress) -> Record | None:
    try:
        return record_of(number, line)
    except ValueError as error:
        progress.refuse(number, str(error))
        return None


async def _numbered(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    splitter = LineSplitter()
    async for chunk in chunks:
        for number, line in _split(splitter, chunk):
            yield number, line
            if number % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
    if splitter.has_rest:
        for number, line in splitter.rest():
            yield number, line


def _split(splitter: LineSplitter, chunk: bytes) -> Iterator[tuple[int, bytes]]:
    try:
        yield from splitter.feed(chunk)
    except LineTooLong as error:
        raise InvalidField(FieldViolation("chunk", f"{error} is too long")) from None

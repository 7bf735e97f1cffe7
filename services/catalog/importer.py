"""Imports a file: parses its lines, writes the records in batches and reports the progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field

from services.catalog.freshness import wait_until_seen
from services.catalog.import_records import LineSplitter, LineTooLong, Record, parse_record
from services.catalog.store import Imports, Outcome
from services.runtime.errors import FieldViolation, InvalidField

BATCH_RECORDS = 250
BATCH_BYTES = 2 * 1024 * 1024
"""A batch ends when its lines have this many bytes, because its records are in memory."""
LINES_PER_TURN = 100
BYTES_PER_TURN = 64 * 1024
"""How many lines or bytes are parsed before other calls get the event loop."""
MAX_REFUSALS = 1_000


@dataclass
class Progress:
    """How far an import is.

    refusals: the lines refused since the last report, each with the reason.
    """

    last_line: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    refusals: list[tuple[int, str]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a batch."""
        self.created += outcome.created
        self.updated += outcome.updated
        self.unchanged += outcome.unchanged
        for line, reason in outcome.refused:
            self.refuse(line, reason)

    def refuse(self, line: int, reason: str) -> None:
        """Add a refused line."""
        self.refused += 1
        if len(self.refusals) < MAX_REFUSALS:
            self.refusals.append((line, reason))


async def import_file(
    chunks: AsyncIterator[bytes], first_line: int, imports: Imports
) -> AsyncGenerator[Progress, None]:
    """Import the lines of a file, and report the progress after each batch and at the end.

    first_line: the number of the first line to import; earlier lines are skipped.
    Errors: InvalidField if a line is longer than MAX_LINE_BYTES.
    """
    progress, batch = Progress(), _Batch()
    async for number, line in _lines(chunks):
        if number >= first_line:
            record = _parse(number, line, progress)
            if record is not None and not batch.accepts(record):
                progress.add(await imports.write(batch.drain()))
                yield progress
                progress.refusals = []
            if record is not None:
                batch.add(record, len(line))
        progress.last_line = number
    progress.add(await imports.write(batch.drain()))
    await wait_until_seen()
    yield progress


class _Batch:
    """Records that are written together.

    A batch has each resource once, so that two records of one resource are written in order.
    """

    def __init__(self) -> None:
        self._records: dict[object, Record] = {}
        self._bytes = 0

    def accepts(self, record: Record) -> bool:
        has_room = len(self._records) < BATCH_RECORDS and self._bytes < BATCH_BYTES
        return has_room and _identity(record) not in self._records

    def add(self, record: Record, line_bytes: int) -> None:
        self._records[_identity(record)] = record
        self._bytes += line_bytes

    def drain(self) -> list[Record]:
        records, self._records, self._bytes = list(self._records.values()), {}, 0
        return records


def _identity(record: Record) -> object:
    return type(record), record.key


def _parse(number: int, line: bytes, progress: Progress) -> Record | None:
    try:
        return parse_record(number, line)
    except ValueError as error:
        progress.refuse(number, str(error))
        return None


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    splitter, parsed = LineSplitter(), 0
    async for chunk in chunks:
        for number, line in _split(splitter, chunk):
            yield number, line
            parsed += len(line)
            if number % LINES_PER_TURN == 0 or parsed >= BYTES_PER_TURN:
                parsed = 0
                await asyncio.sleep(0)
    for number, line in splitter.finish():
        yield number, line


def _split(splitter: LineSplitter, chunk: bytes) -> Iterator[tuple[int, bytes]]:
    try:
        yield from splitter.feed(chunk)
    except LineTooLong as error:
        raise InvalidField(FieldViolation("chunk", str(error))) from None

"""Changes that only the writer of an upload can make.

Every statement names the writer of the record, so that a superseded one changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Update, func, literal, update

from services.runtime.database import Database, retried_on_schema_change
from services.runtime.uploaded_part import UploadedPart
from services.upload.models import Progress, UploadRecord
from services.upload.state import OPEN, TRANSITIONS, Event, State
from services.upload.store.writer_statements import (
    CHECKPOINTS,
    CLAIM_DURATION,
    NEXT_PART_NUMBER,
    alive,
    columns_of_parts,
    writer_of,
)
from services.upload.tables import uploads


@retried_on_schema_change
class WriterStore:
    """Changes uploads as `state.TRANSITIONS` allows, for their writers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def heartbeat(self, record: UploadRecord, is_complete: bool) -> bool:
        """Extend the life of an upload; False when the caller is no longer its writer.

        is_complete: all bytes are durable, so that the reaper completes it soon if the
        session dies.
        """
        is_stored = uploads.c.state == State.STORED
        return await self._write(record, alive(is_stored | literal(is_complete)))

    async def set_multipart(self, record: UploadRecord, s3_upload_id: str) -> bool:
        """Save the id of the multipart upload; False as for `heartbeat`."""
        return await self._write(record, {"s3_upload_id": s3_upload_id})

    async def next_part_number(self, record: UploadRecord) -> int | None:
        """A part number that no part has had; None when the caller is no longer the writer."""
        async with self._database.connection() as connection:
            row = await NEXT_PART_NUMBER.row(connection, **writer_of(record))
        return None if row is None else row["number"]

    async def checkpoint(
        self,
        record: UploadRecord,
        progress: Progress,
        new_parts: Iterable[UploadedPart],
        event: Event,
    ) -> bool:
        """Save what is durable; False as for `heartbeat`, or when the event is not legal.

        event: CHECKPOINTED or ALL_STORED.
        """
        is_complete = event is Event.ALL_STORED or record.plan.is_complete_at(progress.size)
        async with self._database.connection() as connection:
            row = await CHECKPOINTS[event].row(
                connection,
                **writer_of(record),
                **columns_of_parts(new_parts),
                durable_size=progress.size,
                state_of_hash=progress.hash_state,
                media_type=progress.content_type,
                tail_objects=[asdict(each) for each in progress.tail],
                is_complete=is_complete,
            )
        return row is not None

    async def end(
        self, record: UploadRecord, event: Event, kept_for: timedelta, failure_reason: str = ""
    ) -> bool:
        """End an upload; False as for `heartbeat`, or when the event is not legal.

        kept_for: how long from now clients can ask about it.
        """
        transition = TRANSITIONS[event]
        expires = func.now() + kept_for
        values = {
            "state": transition.target,
            "failure_reason": failure_reason,
            "end_time": func.now(),
            "expire_time": expires,
            "due_time": _sweep_time(record, transition.target, expires),
        }
        return await self._write(record, values, transition.sources)

    async def postpone(self, seen: UploadRecord) -> None:
        """Make an upload due when it expires, not before, unless it has changed meanwhile."""
        statement = _if_writer(seen, (seen.upload.state,)).where(
            uploads.c.committed_size == seen.upload.committed_size
        )
        async with self._database.transaction() as connection:
            await connection.execute(statement.values(due_time=uploads.c.expire_time))

    async def _write(
        self, record: UploadRecord, values: dict[str, Any], states: Iterable[State] = OPEN
    ) -> bool:
        statement = _if_writer(record, states).values(values)
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1


def _if_writer(record: UploadRecord, states: Iterable[State]) -> Update:
    """An update that only the current writer of an upload can make, in these states."""
    return update(uploads).where(
        uploads.c.upload_id == record.upload.upload_id,
        uploads.c.writer == record.writer,
        uploads.c.state.in_(states),
    )


def _sweep_time(
    record: UploadRecord, state: State, expires: ColumnElement[datetime]
) -> ColumnElement[datetime]:
    """When S3 is to be swept: now, or when superseded writers must have noticed."""
    if state is not State.COMPLETED:
        return func.now()
    return expires if record.had_one_writer else func.now() + CLAIM_DURATION

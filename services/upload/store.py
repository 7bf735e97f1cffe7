"""All SQL of the upload service: uploads and their parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Update,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from services.runtime.database import Database, retried_on_schema_change
from services.runtime.shared_errors import RequestIdReused
from services.runtime.uploaded_part import UploadedPart
from services.upload.errors import UploadNotFound
from services.upload.models import AssetKind, Kind, Plan, Progress, TailObject, Upload, UploadRecord
from services.upload.state import OPEN, TRANSITIONS, Event, State
from services.upload.tables import parts, uploads

CLAIM_DURATION = timedelta(seconds=60)
"""How long the reaper, or a session without a heartbeat, has an upload for itself."""

# The clocks of hosts may differ, so only PostgreSQL's clock tells whether an upload has expired.
_COLUMNS = (uploads, (uploads.c.expire_time <= func.now()).label("is_expired"))

# SQLAlchemy types a row by its columns; this one has _COLUMNS.
_Row = Any


@retried_on_schema_change
class UploadStore:
    """Reads uploads, and changes them as `state.TRANSITIONS` allows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        plan: Plan,
        lifetime: timedelta,
        *,
        upload_id: UUID,
        object_key: str,
        part_bytes: int,
        job_id: UUID | None = None,
        token_revision: int = 0,
    ) -> UploadRecord:
        """Insert a new upload, or find the one that the same request inserted before.

        A concatenation that has not succeeded is not found: its request starts it again.
        lifetime: the upload expires after this time without a heartbeat.
        Errors: RequestIdReused.
        """
        row = {
            **_columns_of(plan),
            "upload_id": upload_id,
            "token_revision": token_revision,
            "job_id": job_id,
            "object_key": object_key,
            "part_bytes": part_bytes,
            "writer": upload_id,
            "lifetime": lifetime,
            "expire_time": func.now() + lifetime,
            "due_time": func.now() + lifetime,
        }
        statement = postgresql.insert(uploads).values(row)
        statement = statement.on_conflict_do_nothing(index_elements=["request_id"])
        async with self._database.transaction() as connection:
            inserting = statement.returning(*_COLUMNS)
            created = (await connection.execute(inserting)).one_or_none()
            if created is None and plan.is_concatenation:
                await connection.execute(_free_request_id(plan.request_id))
                created = (await connection.execute(inserting)).one_or_none()
            if created is not None:
                return _record(created)
            same_request = uploads.c.request_id == plan.request_id
            earlier = (await connection.execute(select(*_COLUMNS).where(same_request))).one()
            if not _plan(earlier).is_repeated_by(plan):
                raise RequestIdReused
            return _record(earlier)

    async def get(self, upload_id: UUID, *, for_client: bool = False) -> UploadRecord:
        """An upload, without its parts.

        for_client: an upload that ended and has expired does not exist.
        Errors: UploadNotFound.
        """
        found = select(*_COLUMNS).where(uploads.c.upload_id == upload_id)
        if for_client:
            found = found.where(uploads.c.end_time.is_(None) | (uploads.c.expire_time > func.now()))
        async with self._database.transaction() as connection:
            row = (await connection.execute(found)).one_or_none()
        if row is None:
            raise UploadNotFound(upload_id=upload_id)
        return _record(row)

    async def acquire(
        self, upload_id: UUID, first: int, last: int, size: int | None = None
    ) -> UploadRecord | None:
        """Make the caller the only writer of an open upload.

        None when the upload accepts no more bytes, or its committed size is not between
        `first` and `last`. size: of the file, saved if it was unknown.
        """
        values = {
            **_new_writer(),
            "size": func.coalesce(uploads.c.size, size),
            "expire_time": func.now() + uploads.c.lifetime,
            # Until the session's first heartbeat, which comes sooner.
            "due_time": func.now() + CLAIM_DURATION,
        }
        statement = (
            update(uploads)
            .where(
                uploads.c.upload_id == upload_id,
                uploads.c.state.in_(OPEN),
                uploads.c.expire_time > func.now(),
                uploads.c.committed_size.between(first, last),
            )
            .values(values)
            .returning(*_COLUMNS)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
            return None if row is None else await _with_parts(connection, row)

    async def heartbeat(self, record: UploadRecord, is_complete: bool) -> bool:
        """Extend the life of an upload; False when the caller is no longer its writer.

        is_complete: all bytes are durable, so that the reaper completes it soon if the
        session dies.
        """
        is_stored = uploads.c.state == State.STORED
        return await self._write(record, _alive(is_stored | literal(is_complete)))

    async def set_multipart(self, record: UploadRecord, s3_upload_id: str) -> bool:
        """Save the id of the multipart upload; False as for `heartbeat`."""
        return await self._write(record, {"s3_upload_id": s3_upload_id})

    async def next_part_number(self, record: UploadRecord) -> int | None:
        """A part number that no part has had; None when the caller is no longer the writer."""
        statement = (
            _if_writer(record, OPEN)
            .values(next_part=uploads.c.next_part + 1)
            .returning(uploads.c.next_part - 1)
        )
        async with self._database.transaction() as connection:
            number: int | None = await connection.scalar(statement)
            return number

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
        transition = TRANSITIONS[event]
        is_complete = transition.target is State.STORED or record.plan.is_complete_at(progress.size)
        values = {
            "state": transition.target,
            "committed_size": progress.size,
            "hash_state": progress.hash_state,
            "content_type": progress.content_type,
            "tail": [asdict(each) for each in progress.tail],
            **_alive(literal(is_complete)),
        }
        rows = [{"upload_id": record.upload.upload_id, **asdict(part)} for part in new_parts]
        async with self._database.transaction() as connection:
            statement = _if_writer(record, transition.sources).values(values)
            if (await connection.execute(statement)).rowcount != 1:
                return False
            if rows:
                await connection.execute(insert(parts), rows)
            return True

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

    async def forget(self, upload_id: UUID) -> bool:
        """Let a completed upload expire now, and free its request id; False in other states.

        The reaper deletes the row, once superseded writers have noticed.
        """
        noticed = uploads.c.end_time + CLAIM_DURATION
        values = {
            "request_id": None,
            "expire_time": func.now(),
            "due_time": case(
                (uploads.c.writers > 1, func.greatest(noticed, func.now())), else_=func.now()
            ),
        }
        statement = update(uploads).where(
            uploads.c.upload_id == upload_id, uploads.c.state == State.COMPLETED
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(statement.values(values))).rowcount == 1

    async def delete(self, upload_id: UUID) -> None:
        """Delete an upload and its parts."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(uploads).where(uploads.c.upload_id == upload_id))

    async def claim_due(self, limit: int) -> list[UUID]:
        """Claim uploads that need the reaper, for CLAIM_DURATION."""
        due = (
            select(uploads.c.upload_id)
            .where(uploads.c.due_time <= func.now())
            .order_by(uploads.c.due_time)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(uploads)
            .where(uploads.c.upload_id.in_(due))
            .values(due_time=func.now() + CLAIM_DURATION)
            .returning(uploads.c.upload_id)
        )
        async with self._database.transaction() as connection:
            return list((await connection.execute(statement)).scalars())

    async def take_over(self, upload_id: UUID) -> UploadRecord | None:
        """Make the caller the only writer, in any state; None when the upload does not exist."""
        statement = (
            update(uploads)
            .where(uploads.c.upload_id == upload_id)
            .values(_new_writer())
            .returning(*_COLUMNS)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
            return None if row is None else await _with_parts(connection, row)

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


def _new_writer() -> dict[str, Any]:
    more = case((uploads.c.state.in_(OPEN), 1), else_=0)
    return {"writer": uuid7(), "writers": uploads.c.writers + more}


def _alive(is_complete: ColumnElement[bool]) -> dict[str, Any]:
    """An upload that is alive expires later, and the reaper handles it when it does.

    A complete one is due soon: its session may die before it hands the upload over.
    """
    expires = func.now() + uploads.c.lifetime
    due = case((is_complete, func.now() + CLAIM_DURATION), else_=expires)
    return {"expire_time": expires, "due_time": due}


def _free_request_id(request_id: str) -> Update:
    """Let the request of a concatenation that did not succeed start it again."""
    return (
        update(uploads)
        .where(
            uploads.c.request_id == request_id,
            uploads.c.is_concatenation,
            uploads.c.state.in_((State.FAILED, State.CANCELLED, State.EXPIRED)),
        )
        .values(request_id=None)
    )


async def _with_parts(connection: AsyncConnection, row: _Row) -> UploadRecord:
    record = _record(row)
    if record.s3_upload_id is None:
        return record
    found = (
        select(parts.c.number, parts.c.etag, parts.c.checksum)
        .where(parts.c.upload_id == row.upload_id)
        .order_by(parts.c.number)
    )
    sent = tuple(UploadedPart(*each) for each in await connection.execute(found))
    return replace(record, progress=replace(record.progress, parts=sent))


def _columns_of(plan: Plan) -> dict[str, Any]:
    return {
        "kind": plan.kind,
        "token_id": plan.token_id,
        "asset_kind": plan.asset_kind or "",
        "file_name": plan.file_name,
        "client_metadata": plan.client_metadata,
        "client_concat": plan.client_concat,
        "is_concatenation": plan.is_concatenation,
        "request_id": plan.request_id or None,
        "client": plan.client,
        "size": plan.size,
        "sha256": plan.sha256,
        "ends_at_size": plan.ends_at_size,
        "resumable": plan.resumable,
    }


def _plan(row: _Row) -> Plan:
    return Plan(
        kind=Kind(row.kind),
        token_id=row.token_id,
        file_name=row.file_name,
        size=row.size,
        sha256=row.sha256,
        request_id=row.request_id or "",
        client=row.client,
        ends_at_size=row.ends_at_size,
        client_metadata=row.client_metadata,
        client_concat=row.client_concat,
        is_concatenation=row.is_concatenation,
        asset_kind=AssetKind(row.asset_kind) if row.asset_kind else None,
        resumable=row.resumable,
    )


def _record(row: _Row) -> UploadRecord:
    return UploadRecord(
        upload=Upload(
            upload_id=row.upload_id,
            plan=_plan(row),
            state=State(row.state),
            job_id=row.job_id,
            committed_size=row.committed_size,
            expire_time=row.expire_time,
            create_time=row.create_time,
            failure_reason=row.failure_reason,
        ),
        is_expired=row.is_expired,
        writer=row.writer,
        writers=row.writers,
        object_key=row.object_key,
        part_bytes=row.part_bytes,
        token_revision=row.token_revision,
        lifetime=row.lifetime,
        s3_upload_id=row.s3_upload_id,
        progress=Progress(
            size=row.committed_size,
            hash_state=row.hash_state,
            content_type=row.content_type,
            tail=tuple(TailObject(**each) for each in row.tail),
        ),
    )

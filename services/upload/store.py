"""All SQL of the upload service: what is known of uploads and of their parts."""

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
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from services.runtime.database import Database
from services.runtime.object_store import UploadedPart
from services.runtime.shared_errors import RequestIdReused
from services.upload.errors import UploadNotFound
from services.upload.stream import AssetKind
from services.upload.tables import parts, uploads
from services.upload.uploads import Holding, Kind, Plan, Progress, State, TailObject, Upload

ATTENTION = timedelta(seconds=60)
"""How long who takes care of an upload has it, unless it says that it goes on."""

# SQLAlchemy types a row by its columns; these are all of the table.
_Row = Any


class UploadStore:
    """Reads and moves uploads."""

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
    ) -> Holding:
        """Store a new upload, or find the one that this request has stored before.

        lifetime: how long after the last sign of life it expires.
        Errors: RequestIdReused.
        """
        row = {
            "upload_id": upload_id,
            "kind": plan.kind,
            "token_id": plan.token_id,
            "token_revision": token_revision,
            "job_id": job_id,
            "asset_kind": plan.asset_kind or "",
            "file_name": plan.file_name,
            "client_metadata": plan.client_metadata,
            "concat": plan.concat,
            "request_id": plan.request_id or None,
            "size": plan.size,
            "sha256": plan.sha256,
            "ends_at_size": plan.ends_at_size,
            "resumable": plan.resumable,
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
            created = (await connection.execute(statement.returning(uploads))).one_or_none()
            if created is not None:
                return _holding(created)
            named = uploads.c.request_id == plan.request_id
            first = (await connection.execute(select(uploads).where(named))).one()
            if not _plan(first).is_repeated_by(plan):
                raise RequestIdReused
            return _holding(first)

    async def get(self, upload_id: UUID) -> Holding:
        """An upload, without its parts. Errors: UploadNotFound."""
        async with self._database.transaction() as connection:
            return _holding(await _row(connection, upload_id))

    async def open(
        self, upload_id: UUID, first: int, last: int, size: int | None = None
    ) -> Holding | None:
        """Let a new writer write, and no other.

        None when the upload takes no more bytes, or its committed size is not between
        `first` and `last`. size: of the whole, kept if it was not known.
        """
        values = {
            **_new_writer(),
            "size": func.coalesce(uploads.c.size, size),
            **_lives_on(),
        }
        statement = (
            update(uploads)
            .where(
                uploads.c.upload_id == upload_id,
                uploads.c.state == State.RECEIVING,
                uploads.c.expire_time > func.now(),
                uploads.c.committed_size.between(first, last),
            )
            .values(values)
            .returning(uploads)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
            return None if row is None else await _with_parts(connection, row)

    async def touch(self, holding: Holding) -> bool:
        """Say that its writer goes on; False when it is the writer no more."""
        return await self._write(holding, _lives_on())

    async def note_multipart(self, holding: Holding, s3_upload_id: str) -> bool:
        """Keep the id of its multipart upload; False as in `touch`."""
        return await self._write(holding, {"s3_upload_id": s3_upload_id})

    async def next_part(self, holding: Holding) -> int | None:
        """A number for a part that no part has had; None when it is the writer no more."""
        statement = (
            _if_written_by(holding)
            .values(next_part=uploads.c.next_part + 1)
            .returning(uploads.c.next_part - 1)
        )
        async with self._database.transaction() as connection:
            number: int | None = await connection.scalar(statement)
            return number

    async def commit(
        self, holding: Holding, progress: Progress, new_parts: Iterable[UploadedPart]
    ) -> bool:
        """Keep what is durable now; False as in `touch`."""
        at_size = uploads.c.ends_at_size & (uploads.c.size == progress.size)
        whole = or_(literal(progress.whole), func.coalesce(at_size, False))
        values = {
            "committed_size": progress.size,
            "hash_state": progress.hash_state,
            "content_type": progress.content_type,
            "tail": [asdict(each) for each in progress.tail],
            "whole": whole,
            **_lives_on(whole),
        }
        rows = [{"upload_id": holding.upload.upload_id, **asdict(part)} for part in new_parts]
        async with self._database.transaction() as connection:
            if not await _written(connection, holding, values):
                return False
            if rows:
                await connection.execute(insert(parts), rows)
            return True

    async def end(
        self, holding: Holding, state: State, kept_for: timedelta, reason: str = ""
    ) -> bool:
        """End it: it takes no more bytes; False as in `touch`.

        kept_for: how long from now it can still be asked about.
        """
        expires = func.now() + kept_for
        values = {
            "state": state,
            "failure_reason": reason,
            "end_time": func.now(),
            "expire_time": expires,
            # What is left in S3 is swept at once, or when other writers must have noticed.
            "due_time": _sweep_time(holding, state, expires),
        }
        return await self._write(holding, values)

    async def forget(self, upload_id: UUID) -> None:
        """Delete it."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(uploads).where(uploads.c.upload_id == upload_id))

    async def claim_due(self, limit: int) -> list[UUID]:
        """Uploads that need a caretaker, which this caller alone has for ATTENTION."""
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
            .values(due_time=func.now() + ATTENTION)
            .returning(uploads.c.upload_id)
        )
        async with self._database.transaction() as connection:
            return list((await connection.execute(statement)).scalars())

    async def take_over(self, upload_id: UUID) -> Holding | None:
        """Let nobody else write it, whatever state it is in; None when it is gone."""
        statement = (
            update(uploads)
            .where(uploads.c.upload_id == upload_id)
            .values(_new_writer())
            .returning(uploads)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
            return None if row is None else await _with_parts(connection, row)

    async def postpone(self, upload_id: UUID) -> None:
        """It needs no caretaker until it expires."""
        statement = (
            update(uploads)
            .where(uploads.c.upload_id == upload_id)
            .values(due_time=uploads.c.expire_time)
        )
        async with self._database.transaction() as connection:
            await connection.execute(statement)

    async def _write(self, holding: Holding, values: dict[str, Any]) -> bool:
        async with self._database.transaction() as connection:
            return await _written(connection, holding, values)


async def _written(connection: AsyncConnection, holding: Holding, values: dict[str, Any]) -> bool:
    return (await connection.execute(_if_written_by(holding).values(values))).rowcount == 1


def _if_written_by(holding: Holding) -> Update:
    return update(uploads).where(
        uploads.c.upload_id == holding.upload.upload_id,
        uploads.c.writer == holding.writer,
        uploads.c.state == State.RECEIVING,
    )


def _sweep_time(
    holding: Holding, state: State, expires: ColumnElement[datetime]
) -> ColumnElement[datetime]:
    if state is not State.COMPLETED:
        return func.now()
    return expires if holding.is_tidy else func.now() + ATTENTION


def _new_writer() -> dict[str, Any]:
    more = case((uploads.c.state == State.RECEIVING, 1), else_=0)
    return {"writer": uuid7(), "writers": uploads.c.writers + more}


def _lives_on(whole: ColumnElement[bool] = uploads.c.whole) -> dict[str, Any]:
    """A sign of life: it expires later, and needs a caretaker not before that.

    One that is whole needs one soon: its writer may have died before it was finished.
    """
    expires = func.now() + uploads.c.lifetime
    due = case((whole, func.now() + ATTENTION), else_=expires)
    return {"expire_time": expires, "due_time": due}


async def _row(connection: AsyncConnection, upload_id: UUID) -> _Row:
    found = select(uploads).where(uploads.c.upload_id == upload_id)
    row = (await connection.execute(found)).one_or_none()
    if row is None:
        raise UploadNotFound(upload_id=upload_id)
    return row


async def _with_parts(connection: AsyncConnection, row: _Row) -> Holding:
    holding = _holding(row)
    if holding.s3_upload_id is None:
        return holding
    found = (
        select(parts.c.number, parts.c.etag, parts.c.checksum)
        .where(parts.c.upload_id == row.upload_id)
        .order_by(parts.c.number)
    )
    sent = tuple(UploadedPart(*each) for each in await connection.execute(found))
    return replace(holding, progress=replace(holding.progress, parts=sent))


def _plan(row: _Row) -> Plan:
    return Plan(
        kind=Kind(row.kind),
        token_id=row.token_id,
        file_name=row.file_name,
        size=row.size,
        sha256=row.sha256,
        request_id=row.request_id or "",
        ends_at_size=row.ends_at_size,
        client_metadata=row.client_metadata,
        concat=row.concat,
        asset_kind=AssetKind(row.asset_kind) if row.asset_kind else None,
        resumable=row.resumable,
    )


def _holding(row: _Row) -> Holding:
    return Holding(
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
            whole=row.whole,
        ),
    )

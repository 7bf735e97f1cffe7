"""Uploads as clients, sessions and the reaper create, find and acquire them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Update, case, delete, func, select, update
from sqlalchemy.dialects import postgresql
from uuid_utils.compat import uuid7

from services.runtime.database import Database, retried_on_schema_change
from services.runtime.shared_errors import RequestIdReused
from services.upload.errors import UploadNotFound
from services.upload.models import Plan, UploadRecord
from services.upload.state import OPEN, State
from services.upload.store.rows import (
    UPLOAD_COLUMNS,
    AnyRow,
    columns_of,
    plan_of,
    record_of,
    with_parts,
)
from services.upload.store.writer_statements import CLAIM_DURATION
from services.upload.tables import uploads

MayUse = Callable[[str | None], bool]
"""Whether the caller may use what belongs to this owner."""


def _everyone(_: str | None) -> bool:
    return True


@retried_on_schema_change
class UploadStore:
    """Creates, finds, acquires and deletes uploads."""

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
            **columns_of(plan),
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
            inserting = statement.returning(*UPLOAD_COLUMNS)
            created = (await connection.execute(inserting)).one_or_none()
            if created is None and plan.is_concatenation:
                await connection.execute(_free_request_id(plan.request_id))
                created = (await connection.execute(inserting)).one_or_none()
            if created is not None:
                return record_of(created)
            same_request = uploads.c.request_id == plan.request_id
            earlier = (await connection.execute(select(*UPLOAD_COLUMNS).where(same_request))).one()
            if not plan_of(earlier).is_repeated_by(plan):
                raise RequestIdReused
            return record_of(earlier)

    async def get(
        self, upload_id: UUID, *, for_client: bool = False, may_use: MayUse = _everyone
    ) -> UploadRecord:
        """An upload, without its parts.

        for_client: an upload that ended and has expired does not exist. may_use: decides about
        the owner.
        Errors: UploadNotFound, also if `may_use` refuses.
        """
        found = select(*UPLOAD_COLUMNS).where(uploads.c.upload_id == upload_id)
        if for_client:
            found = found.where(uploads.c.end_time.is_(None) | (uploads.c.expire_time > func.now()))
        async with self._database.transaction() as connection:
            row = (await connection.execute(found)).one_or_none()
        if row is None:
            raise UploadNotFound(upload_id=upload_id)
        _require_usable(row, may_use)
        return record_of(row)

    async def acquire(
        self,
        upload_id: UUID,
        first: int,
        last: int,
        size: int | None = None,
        *,
        may_use: MayUse = _everyone,
    ) -> UploadRecord | None:
        """Make the caller the only writer of an open upload.

        None when the upload accepts no more bytes, or its committed size is not between
        `first` and `last`. size: of the file, saved if it was unknown.
        may_use: decides about the owner; a refused caller changes nothing.
        Errors: UploadNotFound if it refuses.
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
            .returning(*UPLOAD_COLUMNS)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
            _require_usable(row, may_use)
            return None if row is None else await with_parts(connection, row)

    async def take_over(
        self, upload_id: UUID, *, may_use: MayUse = _everyone
    ) -> UploadRecord | None:
        """Make the caller the only writer, in any state; None when the upload does not exist.

        may_use: decides about the owner; a refused caller changes nothing.
        Errors: UploadNotFound if it refuses.
        """
        statement = (
            update(uploads)
            .where(uploads.c.upload_id == upload_id)
            .values(_new_writer())
            .returning(*UPLOAD_COLUMNS)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
            _require_usable(row, may_use)
            return None if row is None else await with_parts(connection, row)

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


def _require_usable(row: AnyRow | None, may_use: MayUse) -> None:
    """Treat the upload of another owner as unknown; ends a transaction without its changes."""
    if row is not None and not may_use(row.owner_id):
        raise UploadNotFound(upload_id=row.upload_id)


def _new_writer() -> dict[str, Any]:
    more = case((uploads.c.state.in_(OPEN), 1), else_=0)
    return {"writer": uuid7(), "writers": uploads.c.writers + more}


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

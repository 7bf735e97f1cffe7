"""What all writes have in common: creations that may be repeated, etags, constraints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.errors import AlreadyExists, EtagMismatch
from services.catalog.models import Actor, Script, Token, etag_of
from services.catalog.tables import requests
from services.runtime.database import Database
from services.runtime.errors import FieldViolation, InvalidField, SoriError
from services.runtime.shared_errors import RequestIdReused

REQUEST_ID_AGE = timedelta(hours=24)
"""How long a repeated creation is recognised."""


@dataclass(frozen=True)
class Creation:
    """How something is created.

    request_id: names the call when it is repeated; None when it is not.
    fingerprint: differs for other content.
    validate_only: whether nothing is kept.
    """

    request_id: UUID | None = None
    fingerprint: bytes = b""
    validate_only: bool = False


@asynccontextmanager
async def writing(
    database: Database, *, validate_only: bool = False
) -> AsyncIterator[AsyncConnection]:
    """A transaction that is kept, unless it is for validation only.

    Errors: those of the constraints of the database, as callers know them.
    """
    try:
        async with database.transaction() as connection:
            yield connection
            if validate_only:
                await connection.rollback()
    except IntegrityError as error:
        raise _named(error) from error


def _named(error: IntegrityError) -> SoriError | IntegrityError:
    cause = getattr(error.orig, "__cause__", None)
    constraint = getattr(cause, "constraint_name", None) or ""
    kind, _, rest = constraint.partition("_")
    if constraint == "uq_actors_name":
        return AlreadyExists(resource="actor", field="name")
    if kind == "ck":
        # The rules should have said it better.
        return InvalidField(FieldViolation(rest.replace("s_", ".", 1), "is not valid"))
    return error


async def made_before(connection: AsyncConnection, creation: Creation) -> int | None:
    """The id of what an earlier call with the same request id has created.

    None when there was no such call; then this one has to be noted at its end. A
    call under way with the same id is waited for. Errors: RequestIdReused.
    """
    if creation.request_id is None:
        return None
    statement = insert(requests).values(
        request_id=creation.request_id, fingerprint=creation.fingerprint
    )
    claimed = await connection.scalar(
        statement.on_conflict_do_update(
            index_elements=[requests.c.request_id],
            set_={
                "fingerprint": creation.fingerprint,
                "resource_id": None,
                "create_time": func.now(),
            },
            where=requests.c.create_time < func.now() - REQUEST_ID_AGE,
        ).returning(requests.c.request_id)
    )
    if claimed is not None:
        return None
    row = (
        await connection.execute(
            select(requests).where(requests.c.request_id == creation.request_id)
        )
    ).one()
    if row.fingerprint != creation.fingerprint:
        raise RequestIdReused
    made: int = row.resource_id
    return made


async def note_made(connection: AsyncConnection, creation: Creation, resource_id: int) -> None:
    """Keep what a creation has made for when it is repeated."""
    if creation.request_id is not None:
        await connection.execute(
            update(requests)
            .where(requests.c.request_id == creation.request_id)
            .values(resource_id=resource_id)
        )


def check_etag(resource: Actor | Token | Script, etag: str) -> None:
    """Errors: EtagMismatch when an etag is given and is not the resource's."""
    current = etag_of(resource)
    if etag and etag != current:
        raise EtagMismatch(resource=type(resource).__name__.lower(), etag=current)

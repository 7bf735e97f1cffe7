"""Write transactions: repeatable creates, etags, and errors of database constraints."""

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
from services.catalog.freshness import wait_until_seen
from services.catalog.models import Actor, Script, Token, etag_of
from services.catalog.tables import requests
from services.runtime.database import Database
from services.runtime.errors import FieldViolation, InvalidField, SoriError
from services.runtime.shared_errors import RequestIdReused

REQUEST_ID_LIFETIME = timedelta(hours=24)
"""How long a repeated create is recognised."""


@dataclass(frozen=True)
class CreateOptions:
    """How to create a resource.

    request_id: identifies a create that may be repeated; None if it may not.
    fingerprint: a hash of the content, to tell a repeated create from a different one.
    validate_only: whether to roll the create back after its checks.
    """

    request_id: UUID | None = None
    fingerprint: bytes = b""
    validate_only: bool = False


@asynccontextmanager
async def write_transaction(
    database: Database, *, validate_only: bool = False
) -> AsyncIterator[AsyncConnection]:
    """A transaction that is committed, or rolled back if `validate_only` is set.

    After the commit, it waits until no replica answers without the changes.
    Errors: AlreadyExists or InvalidField instead of a constraint violation.
    """
    try:
        async with database.transaction() as connection:
            yield connection
            if validate_only:
                await connection.rollback()
    except IntegrityError as error:
        raise _domain_error(error) from error
    if not validate_only:
        await wait_until_seen()


def _domain_error(error: IntegrityError) -> SoriError | IntegrityError:
    cause = getattr(error.orig, "__cause__", None)
    constraint = getattr(cause, "constraint_name", None) or ""
    kind, _, rest = constraint.partition("_")
    if constraint == "uq_actors_name":
        return AlreadyExists(resource="actor", field="name")
    if kind == "ck":
        # A last resort: `validation` describes the problem better and runs first.
        return InvalidField(FieldViolation(rest.replace("s_", ".", 1), "is not valid"))
    return error


async def find_created(connection: AsyncConnection, options: CreateOptions) -> int | None:
    """The id of the resource that an earlier create with the same request id created.

    Returns None if this is the first create with the request id. The caller must then create
    the resource and call `record_created`. If a create with the same id is in progress, this
    waits until it ends. Errors: RequestIdReused.
    """
    if options.request_id is None:
        return None
    statement = insert(requests).values(
        request_id=options.request_id, fingerprint=options.fingerprint
    )
    inserted = await connection.scalar(
        statement.on_conflict_do_update(
            index_elements=[requests.c.request_id],
            set_={
                "fingerprint": options.fingerprint,
                "resource_id": None,
                "create_time": func.now(),
            },
            where=requests.c.create_time < func.now() - REQUEST_ID_LIFETIME,
        ).returning(requests.c.request_id)
    )
    if inserted is not None:
        return None
    row = (
        await connection.execute(
            select(requests).where(requests.c.request_id == options.request_id)
        )
    ).one()
    if row.fingerprint != options.fingerprint:
        raise RequestIdReused
    resource_id: int = row.resource_id
    return resource_id


async def record_created(
    connection: AsyncConnection, options: CreateOptions, resource_id: int
) -> None:
    """Store which resource a create created, for repeats of the create."""
    if options.request_id is not None:
        await connection.execute(
            update(requests)
            .where(requests.c.request_id == options.request_id)
            .values(resource_id=resource_id)
        )


def check_etag(resource: Actor | Token | Script, etag: str) -> None:
    """Compare an etag, unless it is empty, with that of a resource. Errors: EtagMismatch."""
    current = etag_of(resource)
    if etag and etag != current:
        raise EtagMismatch(resource=type(resource).__name__.lower(), etag=current)

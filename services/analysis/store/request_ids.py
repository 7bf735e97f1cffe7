"""Request ids: the names that clients give their requests, and the jobs that have them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.jobs import REQUEST_SUPERSEDED, Event
from services.analysis.store.transitions import Transition, apply, locked_row
from services.analysis.tables import jobs
from services.runtime.callers import is_guest

REQUEST_ID_LIFETIME = timedelta(hours=24)
"""How long a request id belongs to the same job."""

SEPARATOR = "\n"
"""What separates the account from the request id; request ids from clients have none."""


@dataclass(frozen=True)
class NamedJob:
    """The job that has a request id.

    sha256: of its recording; None while it has none. is_recent: whether the request id
    still belongs to the job.
    """

    job_id: UUID
    token_id: int
    sha256: bytes | None
    is_recent: bool


def stored_request_id(request_id: str | None, owner_id: str | None) -> str | None:
    """The form in which a request id is stored; None without one.

    It belongs to one account, so an account never gets the job of another one. Guests share
    theirs: a guest that repeats its first request may not know its own secret yet, and a caller
    that knows a job of a guest may use it.
    """
    if request_id is None or owner_id is None or is_guest(owner_id):
        return request_id
    return f"{owner_id}{SEPARATOR}{request_id}"


async def job_named(connection: AsyncConnection, stored_id: str | None) -> NamedJob | None:
    """The job that has a stored request id, locked; None when no job has it."""
    if stored_id is None:
        return None
    is_recent = jobs.c.create_time > func.now() - REQUEST_ID_LIFETIME
    statement = (
        select(jobs.c.job_id, jobs.c.token_id, jobs.c.sha256, is_recent)
        .where(jobs.c.request_id == stored_id)
        .with_for_update()
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else NamedJob(*row)


async def supersede(connection: AsyncConnection, job_id: UUID) -> Transition:
    """Free the request id of a job, and end its upload if one is under way."""
    row = await locked_row(connection, job_id)
    reason = {"failure_reason": REQUEST_SUPERSEDED}
    return await apply(connection, row, Event.UPLOAD_FAILED, reason, {"request_id": None})

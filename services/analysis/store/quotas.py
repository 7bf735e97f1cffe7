"""Quotas: how many jobs an owner may have under way."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.store.reuse import ONE
from services.analysis.store.rows import owner_key
from services.analysis.tables import jobs
from services.runtime.shared_errors import TooManyJobs

_most_jobs = bindparam("most_jobs", type_=Integer)


def has_room(owner_id: Any) -> ColumnElement[bool]:
    """The condition that an owner may have one more job under way. Jobs without an owner may.

    owner_id: a parameter. Further parameter of the statement: `most_jobs`; 0 is unlimited.
    Jobs that are created at the same moment do not count for each other.
    """
    others = jobs.alias("under_way")
    # No more rows than the limit are counted.
    counted = (
        select(ONE)
        .select_from(others)
        .where(owner_key(others.c.owner_id) == owner_id, others.c.due_time.is_not(None))
        .limit(_most_jobs)
        .subquery("counted")
    )
    jobs_under_way = select(func.count()).select_from(counted).scalar_subquery()
    return or_(_most_jobs == 0, jobs_under_way < _most_jobs)


async def require_room(connection: AsyncConnection, owner_id: str | None, most_jobs: int) -> None:
    """Check that an owner may have one more job under way. Errors: TooManyJobs."""
    if owner_id is None or not most_jobs:
        return
    condition = select(has_room(bindparam("owner_id", type_=jobs.c.owner_id.type)))
    given = {"owner_id": owner_id, "most_jobs": most_jobs}
    if not await connection.scalar(condition, given):
        raise TooManyJobs(limit=most_jobs)

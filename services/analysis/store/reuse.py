"""Reuse: completing a job with the stored result of the same recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analysis.jobs import State
from services.analysis.store.rows import IS_KEPT
from services.analysis.stored_results import readable_result
from services.analysis.tables import jobs


@dataclass(frozen=True)
class Reuse:
    """Which results may be reused.

    analyzer_version: the version that produced them; None for the version that produced
    the newest result.
    """

    analyzer_version: str | None


async def donor_of(
    connection: AsyncConnection,
    sha256: bytes,
    token_id: int,
    token_revision: int,
    reuse: Reuse,
) -> UUID | None:
    """The newest job with a computed result of the same recording.

    None without one, or if no client can read it: a new analysis replaces it.
    """
    # The state is a literal, or PostgreSQL would not use the partial indexes.
    computed = and_(
        jobs.c.state == bindparam(None, State.COMPLETED, literal_execute=True),
        jobs.c.reused_job_id.is_(None),
        IS_KEPT,
    )
    newest_version = (
        select(jobs.c.analyzer_version)
        .where(computed)
        .order_by(jobs.c.end_time.desc())
        .limit(1)
        .scalar_subquery()
    )
    version = newest_version if reuse.analyzer_version is None else reuse.analyzer_version
    statement = (
        select(jobs.c.job_id, jobs.c.result)
        .where(
            computed,
            jobs.c.sha256 == sha256,
            jobs.c.token_id == token_id,
            jobs.c.token_revision == token_revision,
            jobs.c.analyzer_version == version,
        )
        .order_by(jobs.c.end_time.desc())
        .limit(1)
    )
    donor = (await connection.execute(statement)).first()
    if donor is None or readable_result(donor.result) is None:
        return None
    donor_id: UUID = donor.job_id
    return donor_id


def copied_result(donor_id: UUID) -> dict[str, Any]:
    """The columns of a result that the database copies from another job."""
    donor = jobs.alias("donor")

    def of_donor(name: str) -> Any:
        return select(donor.c[name]).where(donor.c.job_id == donor_id).scalar_subquery()

    return {
        "result": of_donor("result"),
        "analyzer_version": of_donor("analyzer_version"),
        "reused_job_id": donor_id,
    }

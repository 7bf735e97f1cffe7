"""Openings: jobs that are created before their recording arrives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Interval, bindparam, exists, literal, select
from sqlalchemy.dialects import postgresql

from services.analysis.jobs import PROGRESS, State
from services.analysis.store.quotas import has_room, require_room
from services.analysis.store.request_ids import (
    NamedJob,
    job_named,
    stored_request_id,
    supersede,
)
from services.analysis.store.transitions import OnTransition, Transition, ending_after
from services.analysis.tables import jobs
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.errors import DatabaseUnavailable
from services.runtime.shared_errors import RequestIdReused
from services.runtime.statements import Statement


@dataclass(frozen=True)
class AttachedRecording:
    """A recording that a job already has. sha256: 32 bytes."""

    job_id: UUID
    sha256: bytes


@dataclass(frozen=True)
class Opening:
    """A job to create.

    request_id: the client's name for its request; it belongs to the owner. owner_id: the
    account or the guest; None for callers without an identity.
    """

    job_id: UUID
    token_id: int
    request_id: str | None = None
    owner_id: str | None = None


@retried_on_schema_change
class Openings:
    """Creates jobs that wait for their recordings."""

    def __init__(
        self, database: Database, on_transition: OnTransition, max_jobs_per_owner: int
    ) -> None:
        self._database = database
        self._on_transition = on_transition
        self._max_jobs = max_jobs_per_owner

    async def create(self, opening: Opening, timeout: timedelta) -> AttachedRecording | None:
        """Create a job; see `JobStore.create`."""
        values = {
            "job_id": opening.job_id,
            "token_id": opening.token_id,
            "owner_id": opening.owner_id,
            "request_id": stored_request_id(opening.request_id, opening.owner_id),
            "timeout": timeout,
            "most_jobs": self._max_jobs,
        }
        async with self._database.connection() as connection:
            created = await _CREATE.row(connection, **values)
        if created is None:
            return await self._resolve_conflict(opening, values)
        self._on_transition(opening.job_id, State.OPENED)
        return None

    async def _resolve_conflict(
        self, opening: Opening, values: dict[str, Any]
    ) -> AttachedRecording | None:
        """Find the reason why nothing was inserted; insert if another job has the request id."""
        is_stored = select(exists().where(jobs.c.job_id == opening.job_id))
        # A concurrent call may insert its job first; the second iteration finds it.
        for _ in range(2):
            superseded: tuple[UUID, Transition] | None = None
            async with self._database.transaction() as connection:
                if await connection.scalar(is_stored):
                    return None
                named = await job_named(connection, values["request_id"])
                if named is not None:
                    if attached := _attached_recording(named, opening.token_id):
                        return attached
                    superseded = named.job_id, await supersede(connection, named.job_id)
                await require_room(connection, opening.owner_id, self._max_jobs)
                is_created = await connection.scalar(_INSERT, values)
            if superseded is not None and superseded[1].after is not None:
                self._on_transition(superseded[0], superseded[1].after)
            if is_created:
                self._on_transition(opening.job_id, State.OPENED)
                return None
        raise DatabaseUnavailable


def _attached_recording(named: NamedJob, token_id: int) -> AttachedRecording | None:
    """The recording of an earlier request; None when a new job replaces that of the request.

    Errors: RequestIdReused.
    """
    if not named.is_recent:
        return None
    if named.token_id != token_id:
        raise RequestIdReused
    return None if named.sha256 is None else AttachedRecording(named.job_id, named.sha256)


def _insert() -> Any:
    """The statement that inserts a job.

    It inserts nothing when another job has its id or its request id, or when its owner has
    as many jobs under way as it may have.
    """
    names = ("job_id", "token_id", "owner_id", "request_id")
    given = {name: bindparam(name, type_=jobs.c[name].type) for name in names}
    fresh = {
        "state": literal(State.OPENED.value),
        "progress": literal(PROGRESS[State.OPENED]),
        **ending_after(bindparam("timeout", type_=Interval)),
    }
    values = {**given, **fresh}
    source = select(*values.values()).where(has_room(given["owner_id"]))
    insertion = postgresql.insert(jobs).from_select(list(values), source)
    return insertion.on_conflict_do_nothing().returning(jobs.c.job_id)


_INSERT = _insert()
_CREATE = Statement(_INSERT)

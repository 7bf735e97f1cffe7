"""Readiness of a service's schema: whether it is migrated as far as this code needs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.revisions import older_revisions

_logger = structlog.get_logger(__name__)


async def reason_to_wait(connection: AsyncConnection, service: str, older: Collection[str]) -> str:
    """Why the schema can't be used yet; empty if it can.

    A revision that is not among the older ones is the head, or of a newer release, which
    stays compatible with this code.
    """
    table = f"{service}.alembic_version"
    if not await connection.scalar(text("SELECT to_regclass(:table)"), {"table": table}):
        return "there is no schema yet"
    revision = await connection.scalar(text(f"SELECT version_num FROM {table}"))  # noqa: S608
    if revision is None:
        return "the schema is empty"
    return f"the schema is at revision {revision}" if revision in older else ""


class SchemaProbe:
    """A health probe: PostgreSQL responds, and the service's schema is migrated.

    The schema is read only until it was found ready once.
    """

    def __init__(self, database: Database, service: str) -> None:
        self._database = database
        self._service = service
        self._older: frozenset[str] | None = None
        self._is_ready = False
        self._logged_reason = ""

    async def __call__(self) -> None:
        """Return if the service can use its database.

        Errors: DatabaseUnavailable.
        """
        if self._is_ready:
            await self._database.probe()
            return
        if self._older is None:
            self._older = await asyncio.to_thread(older_revisions, self._service)
        async with self._database.transaction() as connection:
            reason = await reason_to_wait(connection, self._service, self._older)
        if reason:
            self._log(reason)
            raise DatabaseUnavailable
        self._is_ready = True

    def _log(self, reason: str) -> None:
        """Log a reason once, not at every probe."""
        if reason != self._logged_reason:
            self._logged_reason = reason
            _logger.warning(
                "waiting for migrations",
                reason=reason,
                advice=f"Run `python -m services.runtime.migrations {self._service}`.",
            )

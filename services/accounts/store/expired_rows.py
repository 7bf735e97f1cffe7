"""Rows that are no longer needed."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Table, delete, func

from services.accounts.tables import (
    accounts,
    attempts,
    former_pictures,
    mail_tokens,
    mails,
    passkey_challenges,
    sessions,
    used_refresh_tokens,
)
from services.runtime.database import Database, retried_on_schema_change

ENDED_SESSION_LIFETIME = timedelta(days=1)
"""How long a session stays stored after its end."""


UNUSED_ACCOUNT_LIFETIME = timedelta(days=30)
"""How long an account stays stored whose address nobody verified and that nobody logged in to."""

FORMER_PICTURE_LIFETIME = timedelta(days=30)
"""How long a former picture stays known; longer than an upload repeats its completion."""

_EXPIRING = (mail_tokens, mails, attempts, passkey_challenges)

_IS_UNUSED = (
    accounts.c.email_verified.is_(False)
    & accounts.c.login_time.is_(None)
    & accounts.c.delete_time.is_(None)
)


@retried_on_schema_change
class ExpiredRows:
    """Deletes sessions, tokens, counters, unused accounts and former pictures that have expired."""

    def __init__(self, database: Database, *, refresh_token_seconds: float) -> None:
        """refresh_token_seconds: how long a refresh token is valid; a used one is kept as long."""
        self._database = database
        self._refresh_lifetime = timedelta(seconds=refresh_token_seconds)

    async def delete(self) -> None:
        """Delete what has expired."""
        now = func.now()
        expired: list[tuple[Table, ColumnElement[bool]]] = [
            (sessions, sessions.c.expire_time < now),
            (sessions, sessions.c.revoke_time < now - ENDED_SESSION_LIFETIME),
            (used_refresh_tokens, used_refresh_tokens.c.use_time < now - self._refresh_lifetime),
            (accounts, _IS_UNUSED & (accounts.c.create_time < now - UNUSED_ACCOUNT_LIFETIME)),
            (
                former_pictures,
                former_pictures.c.due_time.is_(None)
                & (former_pictures.c.create_time < now - FORMER_PICTURE_LIFETIME),
            ),
            *((table, table.c.expire_time < now) for table in _EXPIRING),
        ]
        for table, condition in expired:
            async with self._database.transaction() as connection:
                await connection.execute(delete(table).where(condition))

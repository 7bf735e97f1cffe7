"""What the command line does with accounts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.models import AuditEntry, Role
from services.accounts.sealing import new_token, token_hash
from services.accounts.store.audit import record
from services.accounts.store.sessions import end_sessions
from services.accounts.tables import (
    accounts,
    adoptions,
    identities,
    mail_tokens,
    passkey_challenges,
    passkeys,
    recovery_codes,
    roles,
)
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.ids import random_uuid7

COMMAND = "command"
"""The actor of changes by the command line, in the audit log."""

LINK_LIFETIME = timedelta(days=1)


@dataclass(frozen=True)
class NewOperator:
    """An account with the role "operator". token: sets its password; empty if it has one."""

    account_id: UUID
    token: str


@retried_on_schema_change
class OperatorStore:
    """Makes accounts operators."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, email: str) -> NewOperator:
        """Grant the role "operator" to the account with this address; creates it if necessary.

        email: in lower case. It counts as verified. Somebody else may have signed up with it
        before, so an unverified account loses its password and identities.
        """
        async with self._database.transaction() as connection:
            account_id, has_password = await _account(connection, email)
            token = "" if has_password else await _password_token(connection, account_id, email)
            granted = await connection.execute(
                upsert(roles)
                .values(account_id=account_id, role=Role.OPERATOR, granted_by=COMMAND)
                .on_conflict_do_nothing()
                .returning(roles.c.role)
            )
            if granted.one_or_none() is not None:
                entry = AuditEntry(COMMAND, str(account_id), "grant_role", Role.OPERATOR)
                await record(connection, entry)
        return NewOperator(account_id, token)


async def _account(connection: AsyncConnection, email: str) -> tuple[UUID, bool]:
    """The id of the account with an address, and whether it has a password."""
    await connection.execute(
        upsert(accounts)
        .values(account_id=random_uuid7(), email=email, email_verified=True)
        .on_conflict_do_nothing()
    )
    row: Any = (
        await connection.execute(
            select(accounts.c.account_id, accounts.c.email_verified, accounts.c.password_hash)
            .where(accounts.c.email == email)
            .with_for_update()
        )
    ).one()
    if row.email_verified:
        return row.account_id, row.password_hash is not None
    await _take_over(connection, row.account_id)
    return row.account_id, False


async def _take_over(connection: AsyncConnection, account_id: UUID) -> None:
    """Verify an address, and remove what somebody else may have set up with it."""
    await connection.execute(
        update(accounts)
        .where(accounts.c.account_id == account_id)
        .values(email_verified=True, password_hash=None, totp_secret=None, totp_pending_secret=None)
    )
    for table in (
        *(identities, recovery_codes, passkeys, passkey_challenges),
        *(mail_tokens, adoptions),
    ):
        await connection.execute(delete(table).where(table.c.account_id == account_id))
    await end_sessions(connection, account_id)


async def _password_token(connection: AsyncConnection, account_id: UUID, email: str) -> str:
    token = new_token()
    await connection.execute(
        insert(mail_tokens).values(
            token_hash=token_hash(token),
            purpose="reset_password",
            email=email,
            account_id=account_id,
            expire_time=func.now() + LINK_LIFETIME,
        )
    )
    return token

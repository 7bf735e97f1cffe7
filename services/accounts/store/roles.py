"""Roles of accounts. Every change is recorded in the audit log."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from services.accounts.models import Account, Actor, AuditEntry, Role
from services.accounts.store.accounts import lock_account, read_account
from services.accounts.store.audit import record
from services.accounts.store.sessions import end_sessions
from services.accounts.tables import roles
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class RoleStore:
    """Grants and revokes roles."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def grant(self, account_id: UUID, role: Role, actor: Actor) -> Account:
        """Grant a role; granting it again changes nothing. Errors: AccountNotFound."""
        statement = (
            insert(roles)
            .values(account_id=account_id, role=role, granted_by=actor.actor_id)
            .on_conflict_do_nothing()
            .returning(roles.c.role)
        )
        async with self._database.transaction() as connection:
            await lock_account(connection, account_id)
            if (await connection.execute(statement)).one_or_none() is not None:
                await record(connection, _entry(actor, account_id, "grant_role", role))
            return await read_account(connection, account_id)

    async def revoke(self, account_id: UUID, role: Role, actor: Actor) -> Account:
        """Revoke a role and end the account's sessions; without the role, change nothing.

        Errors: AccountNotFound.
        """
        statement = (
            delete(roles)
            .where(roles.c.account_id == account_id, roles.c.role == role)
            .returning(roles.c.role)
        )
        async with self._database.transaction() as connection:
            await lock_account(connection, account_id)
            if (await connection.execute(statement)).one_or_none() is not None:
                await end_sessions(connection, account_id)
                await record(connection, _entry(actor, account_id, "revoke_role", role))
            return await read_account(connection, account_id)


def _entry(actor: Actor, account_id: UUID, action: str, role: Role) -> AuditEntry:
    return AuditEntry(actor.actor_id, str(account_id), action, role, actor.address)

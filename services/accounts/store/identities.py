"""People at login providers, and the accounts that they log in to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.models import AuditEntry
from services.accounts.provider_identity import Arrival, ProviderIdentity
from services.accounts.store.adoptions import remember_guest
from services.accounts.store.audit import record
from services.accounts.store.sessions import end_sessions
from services.accounts.tables import (
    accounts,
    identities,
    mail_tokens,
    passkey_challenges,
    passkeys,
    recovery_codes,
)
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.ids import random_uuid7


@retried_on_schema_change
class Identities:
    """Links people at providers to accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account_of(self, identity: ProviderIdentity, arrival: Arrival) -> UUID:
        """The account that a person at a provider logs in to; it is created if necessary.

        A link that exists decides. Without one, the account with the e-mail address that the
        provider states as verified is linked. If that account's own address is unverified,
        somebody else may have created it, so all its other ways to log in are removed first.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_lock(identity))
            linked = await connection.scalar(_linked_account(identity))
            if linked is not None:
                await connection.execute(_used(identity))
                return UUID(str(linked))
            account_id = await _account_to_link(connection, identity, arrival)
            await connection.execute(_link(identity, account_id))
            await record(connection, _entry(account_id, "link_provider", identity, arrival))
            return account_id


def _lock(identity: ProviderIdentity) -> Any:
    """The statement that lets simultaneous logins of one person wait for each other."""
    key = f"{identity.provider} {identity.subject}"
    return select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0)))


def _linked_account(identity: ProviderIdentity) -> Select[Any]:
    return (
        select(accounts.c.account_id)
        .join(identities, identities.c.account_id == accounts.c.account_id)
        .where(*_is(identity), accounts.c.delete_time.is_(None))
    )


def _is(identity: ProviderIdentity) -> tuple[Any, ...]:
    return (
        identities.c.provider == identity.provider,
        identities.c.subject == identity.subject,
    )


def _used(identity: ProviderIdentity) -> Any:
    values = {"login_time": func.now(), "email": identity.email}
    return update(identities).where(*_is(identity)).values(values)


def _link(identity: ProviderIdentity, account_id: UUID) -> Any:
    """The statement that links; it also moves a link from an account that was deleted."""
    values = {"account_id": account_id, "email": identity.email, "login_time": func.now()}
    statement = insert(identities).values(
        provider=identity.provider, subject=identity.subject, **values
    )
    return statement.on_conflict_do_update(
        index_elements=["provider", "subject"], set_={**values, "create_time": func.now()}
    )


async def _account_to_link(
    connection: AsyncConnection, identity: ProviderIdentity, arrival: Arrival
) -> UUID:
    account_id = await _account_with_email(connection, identity, arrival)
    if account_id is None:
        account_id = await _new_account(connection, identity, arrival)
    if account_id is None:
        # Somebody signed up with this address at the same moment.
        account_id = await _account_with_email(connection, identity, arrival)
    if account_id is None:
        raise RuntimeError("an account was deleted while a provider login linked it")
    return account_id


async def _account_with_email(
    connection: AsyncConnection, identity: ProviderIdentity, arrival: Arrival
) -> UUID | None:
    """The account with the person's verified address, safe to be linked; None without one."""
    if not identity.email:
        return None
    query = (
        select(accounts.c.account_id, accounts.c.email_verified)
        .where(accounts.c.email == identity.email, accounts.c.delete_time.is_(None))
        .with_for_update()
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    account_id: UUID = row.account_id
    if not row.email_verified:
        await _reclaim(connection, account_id)
        await record(connection, _entry(account_id, "reclaim_account", identity, arrival))
    return account_id


async def _reclaim(connection: AsyncConnection, account_id: UUID) -> None:
    """Verify an account's address, and remove all its ways to log in.

    The account may be that of an attacker who waits for the owner of the address: passwords,
    second factors, passkeys, linked providers, sessions and links in mails would let both in.
    """
    await connection.execute(
        update(accounts)
        .where(accounts.c.account_id == account_id)
        .values(
            email_verified=True,
            password_hash=None,
            password_change_time=func.now(),
            totp_secret=None,
            totp_pending_secret=None,
            update_time=func.now(),
        )
    )
    for table in (recovery_codes, passkeys, passkey_challenges, identities, mail_tokens):
        await connection.execute(delete(table).where(table.c.account_id == account_id))
    await end_sessions(connection, account_id)


async def _new_account(
    connection: AsyncConnection, identity: ProviderIdentity, arrival: Arrival
) -> UUID | None:
    """Create an account; None if one with this address was created meanwhile."""
    statement = insert(accounts).values(
        account_id=random_uuid7(),
        email=identity.email or None,
        email_verified=bool(identity.email),
        name=identity.name,
        language=arrival.language,
    )
    created: UUID | None = await connection.scalar(
        statement.on_conflict_do_nothing().returning(accounts.c.account_id)
    )
    if created is not None and arrival.guest_owner_id:
        await remember_guest(connection, arrival.guest_owner_id, created)
    return created


def _entry(
    account_id: UUID, action: str, identity: ProviderIdentity, arrival: Arrival
) -> AuditEntry:
    own = str(account_id)
    return AuditEntry(own, own, action, identity.provider, arrival.address)

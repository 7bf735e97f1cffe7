"""Passkeys, and the challenges that they sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.errors import PasskeyRefused, TooManyPasskeys
from services.accounts.models import AuditEntry, Passkey
from services.accounts.passkey_checks import CHALLENGE_SECONDS, NewPasskey, Use
from services.accounts.store.accounts import lock_account
from services.accounts.store.audit import record
from services.accounts.store.recovery_codes import delete_unused_codes, replace_codes
from services.accounts.store.rows import HAS_SECOND_FACTOR
from services.accounts.tables import accounts, passkey_challenges, passkeys
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.ids import random_uuid7

MAX_PASSKEYS = 10
"""The most passkeys of an account."""

_LIFETIME = timedelta(seconds=CHALLENGE_SECONDS)
_PASSKEY = (
    passkeys.c.passkey_id,
    passkeys.c.name,
    passkeys.c.is_backed_up,
    passkeys.c.create_time,
    passkeys.c.use_time,
)


class Purpose(StrEnum):
    """The call for which a challenge is valid."""

    REGISTRATION = "registration"
    LOGIN = "login"
    SECOND_FACTOR = "second_factor"


@dataclass(frozen=True)
class StoredPasskey:
    """A passkey, with what a login needs to know of its account.

    email: None without one.
    """

    passkey_id: UUID
    account_id: UUID
    public_key: bytes
    email: str | None
    email_verified: bool


@retried_on_schema_change
class PasskeyStore:
    """Reads and changes passkeys. A challenge is used up in the statement that accepts it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_challenge(
        self, challenge: bytes, purpose: Purpose, account_id: UUID | None = None
    ) -> None:
        """Store a challenge. account_id: of a registration; its former ones become invalid."""
        row = {"challenge": challenge, "purpose": purpose, "account_id": account_id}
        statement = insert(passkey_challenges).values(
            **row, expire_time=func.clock_timestamp() + _LIFETIME
        )
        async with self._database.transaction() as connection:
            if account_id is not None:
                await lock_account(connection, account_id)
                await connection.execute(
                    delete(passkey_challenges).where(passkey_challenges.c.account_id == account_id)
                )
            await connection.execute(statement)

    async def use_challenge(
        self, challenge: bytes, purpose: Purpose, account_id: UUID | None = None
    ) -> bool:
        """Accept a challenge; False if it is unknown, expired, used or for something else."""
        statement = (
            delete(passkey_challenges)
            .where(
                passkey_challenges.c.challenge == challenge,
                passkey_challenges.c.purpose == purpose,
                passkey_challenges.c.account_id.is_not_distinct_from(account_id),
                passkey_challenges.c.expire_time > func.now(),
            )
            .returning(passkey_challenges.c.challenge)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).one_or_none() is not None

    async def add(
        self, account_id: UUID, new: NewPasskey, name: str, codes: Sequence[bytes], address: str
    ) -> tuple[Passkey, bool]:
        """Add a passkey; returns it, and whether it is the account's first second factor.

        codes: hashes of recovery codes, which are stored for the first second factor.
        Errors: AccountNotFound, TooManyPasskeys, PasskeyRefused if an account has the passkey.
        """
        statement = (
            upsert(passkeys)
            .values(
                passkey_id=random_uuid7(),
                account_id=account_id,
                credential_id=new.credential_id,
                public_key=new.public_key,
                sign_count=new.sign_count,
                is_backed_up=new.is_backed_up,
                name=name,
            )
            .on_conflict_do_nothing()
            .returning(*_PASSKEY)
        )
        has_factor = select(HAS_SECOND_FACTOR).where(accounts.c.account_id == account_id)
        async with self._database.transaction() as connection:
            await lock_account(connection, account_id)
            is_first = not await connection.scalar(has_factor)
            if await _count(connection, account_id) >= MAX_PASSKEYS:
                raise TooManyPasskeys(limit=MAX_PASSKEYS)
            row = (await connection.execute(statement)).one_or_none()
            if row is None:
                raise PasskeyRefused(problem="it is registered already")
            passkey = Passkey(*row)
            if is_first:
                await replace_codes(connection, account_id, codes)
            await record(connection, _entry(account_id, "add_passkey", passkey.passkey_id, address))
        return passkey, is_first

    async def credential_ids(self, account_id: UUID) -> Sequence[bytes]:
        """The ids by which authenticators know the passkeys of an account."""
        query = select(passkeys.c.credential_id).where(passkeys.c.account_id == account_id)
        async with self._database.transaction() as connection:
            return (await connection.scalars(query)).all()

    async def find(self, credential_id: bytes) -> StoredPasskey | None:
        """The passkey with this credential id; None if no account has it."""
        query = (
            select(
                passkeys.c.passkey_id,
                passkeys.c.account_id,
                passkeys.c.public_key,
                accounts.c.email,
                accounts.c.email_verified,
            )
            .join_from(passkeys, accounts, accounts.c.account_id == passkeys.c.account_id)
            .where(passkeys.c.credential_id == credential_id, accounts.c.delete_time.is_(None))
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else StoredPasskey(*row)

    async def record_use(self, passkey: StoredPasskey, use: Use, address: str) -> bool:
        """Record a use; False if the sign count did not grow, as that of a copy does not.

        Authenticators that do not count state 0 always.
        """
        grows = passkeys.c.sign_count < use.sign_count
        if not use.sign_count:
            grows = passkeys.c.sign_count == 0
        statement = (
            update(passkeys)
            .where(passkeys.c.passkey_id == passkey.passkey_id, grows)
            .values(sign_count=use.sign_count, is_backed_up=use.is_backed_up, use_time=func.now())
        )
        async with self._database.transaction() as connection:
            if (await connection.execute(statement)).rowcount:
                return True
            entry = _entry(passkey.account_id, "refuse_passkey", passkey.passkey_id, address)
            await record(connection, entry)
        return False

    async def list_of(self, account_id: UUID) -> Sequence[Passkey]:
        """The passkeys of an account, the oldest first."""
        query = (
            select(*_PASSKEY)
            .where(passkeys.c.account_id == account_id)
            .order_by(passkeys.c.create_time, passkeys.c.passkey_id)
        )
        async with self._database.transaction() as connection:
            return [Passkey(*row) for row in await connection.execute(query)]

    async def delete(self, account_id: UUID, passkey_id: UUID, address: str) -> None:
        """Delete a passkey of an account; deleting it again changes nothing.

        Errors: AccountNotFound.
        """
        statement = delete(passkeys).where(
            passkeys.c.passkey_id == passkey_id, passkeys.c.account_id == account_id
        )
        async with self._database.transaction() as connection:
            await lock_account(connection, account_id)
            if (await connection.execute(statement)).rowcount:
                await delete_unused_codes(connection, account_id)
                entry = _entry(account_id, "delete_passkey", passkey_id, address)
                await record(connection, entry)


async def _count(connection: AsyncConnection, account_id: UUID) -> int:
    query = select(func.count()).where(passkeys.c.account_id == account_id)
    return int(await connection.scalar(query) or 0)


def _entry(account_id: UUID, action: str, passkey_id: UUID, address: str) -> AuditEntry:
    own = str(account_id)
    return AuditEntry(own, own, action, str(passkey_id), address)

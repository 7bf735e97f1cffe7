"""Secrets of authenticator apps, the used time steps, and uses of recovery codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, select, update

from services.accounts.models import AuditEntry
from services.accounts.store.audit import record
from services.accounts.store.recovery_codes import delete_unused_codes, replace_codes
from services.accounts.store.rows import HAS_PASSKEY
from services.accounts.tables import accounts, recovery_codes
from services.runtime.database import Database, retried_on_schema_change

FREE_ATTEMPTS = 5
"""Wrong codes in a row without a pause."""
FIRST_DELAY_SECONDS = 30
MAX_DELAY_SECONDS = 900
"""The pause after a wrong code doubles up to this. Then a guesser has 96 attempts a day."""
_MAX_DOUBLINGS = 10
_NO_FAILURES = {"totp_failures": 0, "totp_retry_time": None}


@dataclass(frozen=True)
class StoredFactor:
    """The second factors of an account. secret, pending: sealed; None if there is none.

    email: of the account; None without one.
    """

    secret: bytes | None
    pending: bytes | None
    email: str | None
    has_passkey: bool = False

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the second factors: "passkey", "totp" or both; empty without one."""
        names = {"passkey": self.has_passkey, "totp": self.secret is not None}
        return tuple(name for name, is_present in names.items() if is_present)


@retried_on_schema_change
class SecondFactors:
    """Reads and changes second factors. A code is used up in the statement that accepts it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account_id: UUID) -> StoredFactor | None:
        """The second factor of an account; None if the account does not exist."""
        columns = (
            accounts.c.totp_secret,
            accounts.c.totp_pending_secret,
            accounts.c.email,
            HAS_PASSKEY,
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(*columns).where(_is(account_id)))).one_or_none()
        return None if row is None else StoredFactor(*row)

    async def enroll(self, account_id: UUID, pending: bytes) -> bool:
        """Store a secret that waits for its confirmation; False if there is a second factor."""
        return await self._change(
            update(accounts)
            .where(_is(account_id), accounts.c.totp_secret.is_(None))
            .values(totp_pending_secret=pending)
        )

    async def confirm(
        self, account_id: UUID, pending: bytes, step: int, codes: Iterable[bytes], entry: AuditEntry
    ) -> bool:
        """Make the pending secret the second factor; False if it was replaced meanwhile.

        step: that of the code that confirmed it. codes: hashes of the recovery codes.
        """
        statement = (
            update(accounts)
            .where(_is(account_id), accounts.c.totp_pending_secret == pending)
            .values(
                totp_secret=pending,
                totp_pending_secret=None,
                totp_step=step,
                **_NO_FAILURES,
                update_time=func.now(),
            )
        )
        async with self._database.transaction() as connection:
            if not (await connection.execute(statement)).rowcount:
                return False
            await replace_codes(connection, account_id, codes)
            await record(connection, entry)
        return True

    async def admit(self, account_id: UUID) -> int:
        """Count an attempt as wrong until a code is accepted; 0 if it is admitted.

        Otherwise, returns the seconds until the next attempt.
        """
        failures = accounts.c.totp_failures + 1
        attempt = (
            update(accounts)
            .where(
                _is(account_id),
                func.coalesce(accounts.c.totp_retry_time, func.now()) <= func.now(),
            )
            .values(totp_failures=failures, totp_retry_time=_retry_time(failures))
        )
        wait = func.ceil(func.extract("epoch", accounts.c.totp_retry_time - func.now()))
        async with self._database.transaction() as connection:
            if (await connection.execute(attempt)).rowcount:
                return 0
            seconds = await connection.scalar(select(wait).where(_is(account_id)))
        return max(int(seconds or 0), 1)

    async def use_step(self, account_id: UUID, secret: bytes, step: int, current: bytes) -> bool:
        """Accept the code of a time step; False if that or a later step was accepted before.

        secret: the sealed secret that the code belongs to. current: replaces it.
        """
        return await self._change(
            update(accounts)
            .where(_is(account_id), accounts.c.totp_secret == secret, accounts.c.totp_step < step)
            .values(totp_secret=current, totp_step=step, **_NO_FAILURES)
        )

    async def use_recovery_code(self, account_id: UUID, code: bytes, entry: AuditEntry) -> bool:
        """Accept a recovery code, given by its hash; False if it is unknown or was used."""
        statement = (
            update(recovery_codes)
            .where(
                recovery_codes.c.account_id == account_id,
                recovery_codes.c.code_hash == code,
                recovery_codes.c.use_time.is_(None),
            )
            .values(use_time=func.now())
        )
        async with self._database.transaction() as connection:
            if not (await connection.execute(statement)).rowcount:
                return False
            await connection.execute(update(accounts).where(_is(account_id)).values(_NO_FAILURES))
            await record(connection, entry)
        return True

    async def remove(self, account_id: UUID, entry: AuditEntry) -> None:
        """Remove the authenticator app; without passkeys, also the recovery codes."""
        statement = (
            update(accounts)
            .where(_is(account_id))
            .values(totp_secret=None, totp_pending_secret=None, update_time=func.now())
        )
        async with self._database.transaction() as connection:
            await connection.execute(statement)
            await delete_unused_codes(connection, account_id)
            await record(connection, entry)

    async def _change(self, statement: Any) -> bool:
        async with self._database.transaction() as connection:
            return bool((await connection.execute(statement)).rowcount)


def _is(account_id: UUID) -> Any:
    return (accounts.c.account_id == account_id) & accounts.c.delete_time.is_(None)


def _retry_time(failures: Any) -> Any:
    """When the next code may be tried after this many wrong ones in a row.

    NULL: at once, also by a transaction that began before this one.
    """
    doublings = func.least(failures - FREE_ATTEMPTS, _MAX_DOUBLINGS)
    seconds = func.least(FIRST_DELAY_SECONDS * func.power(2.0, doublings), MAX_DELAY_SECONDS)
    time = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return case((failures < FREE_ATTEMPTS, None), else_=time)

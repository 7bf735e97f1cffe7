"""Deleted accounts and the receipts of their erasure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Select, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.errors import ErasureNotFound
from services.accounts.models import AuditEntry, Erasure
from services.accounts.store.accounts import lock_account
from services.accounts.store.audit import record
from services.accounts.store.pictures import retire_picture
from services.accounts.tables import (
    accounts,
    adoptions,
    audit,
    erasures,
    identities,
    mail_tokens,
    mails,
    passkey_challenges,
    passkeys,
    recovery_codes,
    roles,
    sessions,
)
from services.runtime.database import Database, retried_on_schema_change

TIME_LIMIT = timedelta(days=1)
"""How long an erasure may take."""

LEASE = timedelta(minutes=1)
"""How long another attempt waits for this one, and how soon a failed one is repeated."""

_OWNED = (
    *(sessions, identities, roles, recovery_codes, passkeys, passkey_challenges),
    *(mail_tokens, mails, adoptions),
)


@dataclass(frozen=True)
class ErasureClaim:
    """An erasure that one process works on.

    is_final: whether access tokens of the account have expired, so that nothing new can appear.
    """

    erasure_id: UUID
    account_id: UUID
    is_final: bool


@retried_on_schema_change
class ErasureStore:
    """Begins erasures, hands them out to one process at a time, and keeps the receipts."""

    def __init__(self, database: Database, *, token_seconds: float) -> None:
        """token_seconds: for how long access tokens stay valid after the deletion."""
        self._database = database
        # A call may begin with the last valid second of a token.
        self._settled_after = timedelta(seconds=token_seconds + LEASE.total_seconds())

    async def begin(self, account_id: UUID, address: str, *, actor_id: str = "") -> Erasure:
        """Delete an account: remove its personal data, and let its erasure begin.

        address: of the caller, for the audit log. actor_id: the caller, if it is not the account.
        Errors: AccountNotFound.
        """
        statement = (
            insert(erasures)
            .values(
                erasure_id=uuid4(),
                account_id=account_id,
                deadline=func.now() + TIME_LIMIT,
                due_time=func.now(),
            )
            .returning(*_receipt().selected_columns)
        )
        async with self._database.transaction() as connection:
            await lock_account(connection, account_id)
            await _remove_personal_data(connection, account_id)
            entry = AuditEntry(
                actor_id or str(account_id), str(account_id), "delete_account", "", address
            )
            await record(connection, entry)
            return Erasure(*(await connection.execute(statement)).one())

    async def get(self, erasure_id: UUID) -> Erasure:
        """Read a receipt. Errors: ErasureNotFound."""
        statement = _receipt().where(erasures.c.erasure_id == erasure_id)
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise ErasureNotFound
        return Erasure(*row)

    async def claim(self) -> ErasureClaim | None:
        """An erasure that is due, and not again before LEASE; None without one."""
        due = (
            select(erasures.c.erasure_id)
            .where(erasures.c.due_time <= func.now())
            .order_by(erasures.c.due_time)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        statement = (
            update(erasures)
            .where(erasures.c.erasure_id == due)
            .values(due_time=func.now() + LEASE)
            .returning(
                erasures.c.erasure_id,
                erasures.c.account_id,
                erasures.c.request_time + self._settled_after <= func.now(),
            )
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else ErasureClaim(*row)

    async def add(self, claim: ErasureClaim, *, analyses: int = 0, uploads: int = 0) -> None:
        """Count what was erased, and extend the claim."""
        await self._update(
            claim,
            erased_analyses=erasures.c.erased_analyses + analyses,
            erased_uploads=erasures.c.erased_uploads + uploads,
            due_time=func.now() + LEASE,
        )

    async def postpone(self, claim: ErasureClaim, *, is_empty: bool) -> None:
        """Continue later. is_empty: whether nothing is left except what may still appear."""
        wait = func.now() + LEASE / 2
        settled = erasures.c.request_time + self._settled_after
        await self._update(claim, due_time=func.greatest(wait, settled) if is_empty else wait)

    async def complete(self, claim: ErasureClaim) -> None:
        """Delete the account's rows; the receipt no longer names the account."""
        account_id = str(claim.account_id)
        is_about = or_(audit.c.account_id == account_id, audit.c.actor_id == account_id)
        async with self._database.transaction() as connection:
            await connection.execute(
                delete(accounts).where(accounts.c.account_id == claim.account_id)
            )
            await connection.execute(
                update(audit).where(is_about, audit.c.address != "").values(address="")
            )
            await connection.execute(
                update(erasures)
                .where(erasures.c.erasure_id == claim.erasure_id)
                .values(account_id=None, complete_time=func.now(), due_time=None)
            )

    async def overdue(self) -> int:
        """The number of erasures that have passed their deadline."""
        statement = select(func.count()).where(
            erasures.c.complete_time.is_(None), erasures.c.deadline < func.now()
        )
        async with self._database.transaction() as connection:
            return int(await connection.scalar(statement) or 0)

    async def _update(self, claim: ErasureClaim, **values: Any) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(
                update(erasures)
                .where(
                    erasures.c.erasure_id == claim.erasure_id, erasures.c.complete_time.is_(None)
                )
                .values(**values)
            )


async def _remove_personal_data(connection: AsyncConnection, account_id: UUID) -> None:
    """Remove what identifies the learner; the row stays until all services have erased theirs."""
    await retire_picture(connection, account_id)
    for table in _OWNED:
        await connection.execute(delete(table).where(table.c.account_id == account_id))
    await connection.execute(
        update(accounts)
        .where(accounts.c.account_id == account_id)
        .values(
            email=None,
            email_verified=False,
            name="",
            password_hash=None,
            totp_secret=None,
            totp_pending_secret=None,
            delete_time=func.now(),
        )
    )


def _receipt() -> Select[Any]:
    return select(
        erasures.c.erasure_id,
        erasures.c.account_id,
        erasures.c.request_time,
        erasures.c.deadline,
        erasures.c.complete_time,
        erasures.c.erased_analyses,
        erasures.c.erased_uploads,
    )

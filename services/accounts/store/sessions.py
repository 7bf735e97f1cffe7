"""Sessions and their refresh tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.models import AuditEntry, Role, Session
from services.accounts.refresh_rules import Presented, Use, Verdict, judge
from services.accounts.sealing import open_with_token, seal_with_token, token_hash
from services.accounts.store.audit import record
from services.accounts.store.rows import HAS_SECOND_FACTOR, ROLES
from services.accounts.tables import accounts, adoptions, sessions, used_refresh_tokens
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.ids import random_uuid7

MAX_SESSIONS = 100
"""The most sessions of an account; a login ends those that were not refreshed for the longest."""

_IS_OPEN = sessions.c.revoke_time.is_(None) & (sessions.c.expire_time > func.now())


@dataclass(frozen=True)
class Begun:
    """A session that a login began, and the roles of its account."""

    session_id: UUID
    roles: tuple[Role, ...]
    has_second_factor: bool


@dataclass(frozen=True)
class Refreshed(Begun):
    """A session after a refresh. successor: its next refresh token."""

    account_id: UUID
    successor: str


@retried_on_schema_change
class SessionStore:
    """Begins, refreshes, lists and ends sessions."""

    def __init__(
        self, database: Database, *, lifetime_seconds: float, grace_seconds: float
    ) -> None:
        """lifetime_seconds: after how long without a refresh a session ends.

        grace_seconds: for how long a used token gets the same successor again.
        """
        self._database = database
        self._lifetime = timedelta(seconds=lifetime_seconds)
        self._grace = timedelta(seconds=grace_seconds)

    async def begin(self, account_id: UUID, token: str, device: str, address: str) -> Begun | None:
        """Begin a session with its first refresh token; None if the account does not exist.

        The takes of the guest who signed up are now due to be given to the account.
        """
        session_id = random_uuid7()
        async with self._database.transaction() as connection:
            row = (await connection.execute(_logged_in(account_id))).one_or_none()
            if row is None:
                return None
            await connection.execute(
                insert(sessions).values(
                    session_id=session_id,
                    account_id=account_id,
                    refresh_hash=token_hash(token),
                    device=device,
                    address=address,
                    expire_time=func.now() + self._lifetime,
                )
            )
            await _end_surplus(connection, account_id)
            await connection.execute(
                update(adoptions)
                .where(adoptions.c.account_id == account_id, adoptions.c.due_time.is_(None))
                .values(due_time=func.now())
            )
        return Begun(session_id, tuple(map(Role, row.roles)), row.has_second_factor)

    async def refresh(self, token: str, successor: str, address: str) -> Refreshed | None:
        """Exchange a refresh token; None if it is unknown or its session has ended.

        A token that was stolen ends its session. successor: a new token; the answer has another
        one if the call repeats an exchange.
        """
        async with self._database.transaction() as connection:
            row = await _locked(connection, token)
            if row is None:
                return None
            verdict = judge(_presented(row, token), now=row.now, address=address, grace=self._grace)
            match verdict:
                case Verdict.ROTATE:
                    await self._rotate(connection, row.session_id, token, successor, address)
                case Verdict.REPEAT:
                    successor = open_with_token(token, row.successor)
                case Verdict.REUSED:
                    await _end_stolen(connection, row, address)
                    return None
                case Verdict.ENDED:
                    return None
            granted = tuple(map(Role, row.roles))
            return Refreshed(
                row.session_id, granted, row.has_second_factor, row.account_id, successor
            )

    async def _rotate(
        self,
        connection: AsyncConnection,
        session_id: UUID,
        token: str,
        successor: str,
        address: str,
    ) -> None:
        await connection.execute(
            insert(used_refresh_tokens).values(
                token_hash=token_hash(token),
                session_id=session_id,
                successor=seal_with_token(token, successor),
                address=address,
            )
        )
        await connection.execute(
            update(sessions)
            .where(sessions.c.session_id == session_id)
            .values(
                refresh_hash=token_hash(successor),
                address=address,
                refresh_time=func.now(),
                expire_time=func.now() + self._lifetime,
            )
        )

    async def find(self, token: str) -> tuple[UUID, UUID] | None:
        """The ids of the account and the session of a refresh token, valid or used."""
        async with self._database.transaction() as connection:
            row = await _locked(connection, token)
        return None if row is None else (row.account_id, row.session_id)

    async def list_open(self, account_id: UUID) -> Sequence[Session]:
        """The sessions of an account that have not ended, the latest refreshed first."""
        statement = (
            select(
                sessions.c.session_id,
                sessions.c.account_id,
                sessions.c.device,
                sessions.c.address,
                sessions.c.create_time,
                sessions.c.refresh_time,
                sessions.c.expire_time,
            )
            .where(sessions.c.account_id == account_id, _IS_OPEN)
            .order_by(sessions.c.refresh_time.desc(), sessions.c.session_id.desc())
            .limit(MAX_SESSIONS)
        )
        async with self._database.transaction() as connection:
            return [Session(*row) for row in await connection.execute(statement)]

    async def end(self, account_id: UUID, session_id: UUID) -> None:
        """End a session of an account. Ending it again changes nothing."""
        is_own = sessions.c.account_id == account_id
        async with self._database.transaction() as connection:
            await connection.execute(_ended(is_own, sessions.c.session_id == session_id))

    async def end_all(self, account_id: UUID, except_session: UUID | None = None) -> None:
        """End the sessions of an account, all or all except one."""
        async with self._database.transaction() as connection:
            await end_sessions(connection, account_id, except_session)


async def end_sessions(
    connection: AsyncConnection, account_id: UUID, except_session: UUID | None = None
) -> None:
    """End the sessions of an account in the transaction of another change.

    except_session: the one that continues; default: none.
    """
    others = [] if except_session is None else [sessions.c.session_id != except_session]
    await connection.execute(_ended(sessions.c.account_id == account_id, *others))


def _ended(*conditions: ColumnElement[bool]) -> Any:
    return (
        update(sessions)
        .where(sessions.c.revoke_time.is_(None), *conditions)
        .values(revoke_time=func.now())
    )


def _logged_in(account_id: UUID) -> Any:
    """The statement that records a login; returns the roles if the account exists."""
    columns = (ROLES.label("roles"), HAS_SECOND_FACTOR.label("has_second_factor"))
    return (
        update(accounts)
        .where(accounts.c.account_id == account_id, accounts.c.delete_time.is_(None))
        .values(login_time=func.now())
        .returning(*columns)
    )


async def _end_surplus(connection: AsyncConnection, account_id: UUID) -> None:
    surplus = (
        select(sessions.c.session_id)
        .where(sessions.c.account_id == account_id, _IS_OPEN)
        .order_by(sessions.c.refresh_time.desc(), sessions.c.session_id.desc())
        .offset(MAX_SESSIONS)
    )
    await connection.execute(_ended(sessions.c.session_id.in_(surplus)))


async def _locked(connection: AsyncConnection, token: str) -> Any:
    """The locked session of a refresh token, and its exchange if it was used; None if unknown."""
    hashed = token_hash(token)
    unused = _sessions(null(), null(), null()).where(sessions.c.refresh_hash == hashed)
    row = (await connection.execute(unused.with_for_update(of=sessions))).one_or_none()
    if row is not None:
        return row
    # A concurrent refresh of the same token has committed when the lock was granted.
    used = _sessions(
        used_refresh_tokens.c.use_time,
        used_refresh_tokens.c.address,
        used_refresh_tokens.c.successor,
    ).join_from(
        sessions,
        used_refresh_tokens,
        used_refresh_tokens.c.session_id == sessions.c.session_id,
    )
    used = used.where(used_refresh_tokens.c.token_hash == hashed)
    return (await connection.execute(used.with_for_update(of=sessions))).one_or_none()


def _sessions(use_time: Any, use_address: Any, successor: Any) -> Select[Any]:
    return (
        select(
            sessions.c.session_id,
            sessions.c.account_id,
            sessions.c.refresh_hash,
            sessions.c.expire_time,
            sessions.c.revoke_time,
            use_time.label("use_time"),
            use_address.label("use_address"),
            successor.label("successor"),
            ROLES.label("roles"),
            HAS_SECOND_FACTOR.label("has_second_factor"),
            func.now().label("now"),
        )
        .join_from(sessions, accounts, accounts.c.account_id == sessions.c.account_id)
        .where(accounts.c.delete_time.is_(None))
    )


def _presented(row: Any, token: str) -> Presented:
    use = None
    if row.use_time is not None:
        successor = open_with_token(token, row.successor)
        is_latest = token_hash(successor) == row.refresh_hash
        use = Use(row.use_time, row.use_address, is_latest)
    return Presented(row.expire_time, row.revoke_time, use)


async def _end_stolen(connection: AsyncConnection, row: Any, address: str) -> None:
    await connection.execute(_ended(sessions.c.session_id == row.session_id))
    account_id = str(row.account_id)
    detail = str(row.session_id)
    await record(
        connection,
        AuditEntry(account_id, account_id, "refresh_token_reused", detail, address),
    )

"""Creating accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import case, literal, null, select
from sqlalchemy.dialects import postgresql

from services.accounts.letters import Occasion
from services.accounts.profile_fields import ProfileFields
from services.accounts.store.mails import queue_mail
from services.accounts.tables import accounts, adoptions
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.ids import random_uuid7


@dataclass(frozen=True)
class NewAccount:
    """A sign-up. guest_owner_id: of the guest who signs up; empty for other callers."""

    email: str
    password_hash: str = field(repr=False)
    profile: ProfileFields
    guest_owner_id: str = ""


@retried_on_schema_change
class SignUpStore:
    """Creates accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, account: NewAccount, *, is_verified_later: bool) -> None:
        """Create an account, unless the address has one, and queue a mail to the address.

        The statements are the same in both cases. The mail carries the sign-up: its link gives
        the account the password of the person who signed up and owns the mailbox, even if a
        stranger signed up with the address before.
        is_verified_later: whether the account can't log in before its verification.
        """
        sign_up = {
            "password_hash": account.password_hash,
            "name": account.profile.name,
            "language": account.profile.language.value,
            "time_zone": account.profile.time_zone,
            "guest_owner_id": account.guest_owner_id,
        }
        async with self._database.transaction() as connection:
            account_id = random_uuid7()
            await connection.execute(
                _insert(account, account_id, is_verified_later=is_verified_later)
            )
            if account.guest_owner_id:
                await connection.execute(_remember_guest(account.guest_owner_id, account_id))
            await queue_mail(
                connection,
                Occasion.SIGN_UP,
                account.email,
                account.profile.language,
                sign_up=sign_up,
            )


def _insert(account: NewAccount, account_id: UUID, *, is_verified_later: bool) -> Any:
    """The statement that inserts an account, unless the address has one.

    If two people sign up with an unverified address, neither password is stored with the
    account: only the link in the mail of a sign-up sets its password.
    """
    kept = accounts.c.password_hash
    contested = case((accounts.c.email_verified, kept), else_=null())
    insertion = postgresql.insert(accounts).values(
        account_id=account_id,
        email=account.email,
        password_hash=account.password_hash,
        name=account.profile.name,
        language=account.profile.language,
        time_zone=account.profile.time_zone,
    )
    return insertion.on_conflict_do_update(
        index_elements=[accounts.c.email],
        index_where=accounts.c.email.is_not(None),
        set_={"password_hash": contested if is_verified_later else kept},
    )


def _remember_guest(guest_owner_id: str, account_id: UUID) -> Any:
    """The statement that notes the guest of a new account; does nothing if none was created."""
    source = select(literal(guest_owner_id), accounts.c.account_id)
    return (
        postgresql.insert(adoptions)
        .from_select(
            ["guest_owner_id", "account_id"], source.where(accounts.c.account_id == account_id)
        )
        .on_conflict_do_nothing()
    )

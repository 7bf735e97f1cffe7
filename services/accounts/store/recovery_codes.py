"""The recovery codes of an account, in the transactions that change its second factors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.store.rows import HAS_SECOND_FACTOR
from services.accounts.tables import accounts, recovery_codes


async def replace_codes(
    connection: AsyncConnection, account_id: UUID, codes: Iterable[bytes]
) -> None:
    """Replace all recovery codes. codes: hashes of the new ones."""
    rows = [{"account_id": account_id, "code_hash": code} for code in codes]
    await connection.execute(_all_of(account_id))
    await connection.execute(insert(recovery_codes), rows)


async def delete_unused_codes(connection: AsyncConnection, account_id: UUID) -> None:
    """Delete the recovery codes if the account has no second factor that they replace."""
    without_factor = select(accounts.c.account_id).where(
        accounts.c.account_id == account_id, ~HAS_SECOND_FACTOR
    )
    await connection.execute(
        _all_of(account_id).where(recovery_codes.c.account_id.in_(without_factor))
    )


def _all_of(account_id: UUID) -> Any:
    return delete(recovery_codes).where(recovery_codes.c.account_id == account_id)

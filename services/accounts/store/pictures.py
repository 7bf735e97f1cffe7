"""The pictures of accounts, and the objects in S3 that are no picture any more."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import exists, func, null, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from services.accounts.models import Picture
from services.accounts.store.accounts import lock_account
from services.accounts.tables import accounts, former_pictures
from services.runtime.database import Database, retried_on_schema_change

LEASE = timedelta(minutes=1)
"""How long another attempt to delete an object waits for this one."""

_NO_PICTURE = {"picture_key": None, "picture_type": None, "picture_size": None}


@retried_on_schema_change
class PictureStore:
    """Sets and removes pictures, and hands out former objects for deletion."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(self, account_id: UUID, picture: Picture) -> None:
        """Give an account a picture, and queue the deletion of the former object.

        Changes nothing for an object that was replaced, removed or released before.
        Errors: AccountNotFound.
        """
        values = {
            "picture_key": picture.object_key,
            "picture_type": picture.content_type,
            "picture_size": picture.size,
            "update_time": func.now(),
        }
        is_former = exists().where(former_pictures.c.object_key == picture.object_key)
        is_new = (
            accounts.c.picture_key.is_distinct_from(picture.object_key),
            ~is_former,
        )
        async with self._database.transaction() as connection:
            await lock_account(connection, account_id)
            is_mine = accounts.c.account_id == account_id
            if await connection.scalar(select(accounts.c.account_id).where(is_mine, *is_new)):
                await retire_picture(connection, account_id)
                await connection.execute(update(accounts).where(is_mine).values(values))

    async def remove(self, account_id: UUID) -> None:
        """Remove the picture, if there is one. Errors: AccountNotFound."""
        async with self._database.transaction() as connection:
            await lock_account(connection, account_id)
            await retire_picture(connection, account_id)

    async def release(self, account_id: UUID, object_key: str) -> bool:
        """Prevent that an object becomes the picture; returns whether it is the picture."""
        row = select(accounts.c.picture_key).where(accounts.c.account_id == account_id)
        async with self._database.transaction() as connection:
            found = (await connection.execute(row.with_for_update())).one_or_none()
            if found is None:
                return False
            if found.picture_key == object_key:
                return True
            await connection.execute(
                postgresql.insert(former_pictures)
                .values(object_key=object_key, account_id=account_id)
                .on_conflict_do_nothing()
            )
            return False

    async def claim(self, limit: int) -> list[str]:
        """Objects whose deletion is due, and due again only after LEASE."""
        due = (
            select(former_pictures.c.object_key)
            .where(former_pictures.c.due_time <= func.now())
            .order_by(former_pictures.c.due_time)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(former_pictures)
            .where(former_pictures.c.object_key.in_(due))
            .values(due_time=func.now() + LEASE)
            .returning(former_pictures.c.object_key)
        )
        async with self._database.transaction() as connection:
            return list((await connection.execute(statement)).scalars())

    async def deleted(self, object_key: str) -> None:
        """Record that an object is deleted."""
        statement = update(former_pictures).where(former_pictures.c.object_key == object_key)
        async with self._database.transaction() as connection:
            await connection.execute(statement.values(due_time=null()))


async def retire_picture(connection: AsyncConnection, account_id: UUID) -> None:
    """Remove the picture, if there is one, and queue the deletion of its object.

    The transaction has locked the account.
    """
    is_mine = accounts.c.account_id == account_id
    former = select(accounts.c.picture_key, accounts.c.account_id, func.now()).where(
        is_mine, accounts.c.picture_key.is_not(None)
    )
    columns = ["object_key", "account_id", "due_time"]
    await connection.execute(
        postgresql.insert(former_pictures).from_select(columns, former).on_conflict_do_nothing()
    )
    await connection.execute(update(accounts).where(is_mine).values(**_NO_PICTURE))

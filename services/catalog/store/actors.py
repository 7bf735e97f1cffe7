"""Actors and their aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.errors import ActorInUse, ActorNotFound, id_list
from services.catalog.models import Actor
from services.catalog.store.idempotency import (
    CreateOptions,
    check_etag,
    find_created,
    record_created,
    write_transaction,
)
from services.catalog.tables import actor_aliases, actors, token_actors, tokens
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class ActorStore:
    """Reads and writes actors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        actor: Actor,
        options: CreateOptions = CreateOptions(),  # noqa: B008
    ) -> Actor:
        """Insert an actor. Errors: AlreadyExists if another actor has the name."""
        async with write_transaction(
            self._database, validate_only=options.validate_only
        ) as connection:
            actor_id = await find_created(connection, options)
            if actor_id is None:
                statement = insert(actors).values(name=actor.name).returning(actors.c.id)
                actor_id = (await connection.scalars(statement)).one()
                await _write_aliases(connection, actor_id, actor.aliases)
                await record_created(connection, options, actor_id)
            created = await _read(connection, actor_id)
            return replace(created, id=None) if options.validate_only else created

    async def get(self, actor_id: int) -> Actor:
        """Read an actor. Errors: ActorNotFound."""
        async with self._database.transaction() as connection:
            return await _read(connection, actor_id)

    async def get_many(self, actor_ids: Sequence[int]) -> list[Actor]:
        """Read actors in the order of the ids. Errors: ActorNotFound, with the missing ids."""
        found = await self.get_existing(actor_ids)
        if missing := [each for each in actor_ids if each not in found]:
            raise ActorNotFound(actor_id=id_list(missing))
        return [found[each] for each in actor_ids]

    async def get_existing(self, actor_ids: Sequence[int]) -> dict[int, Actor]:
        """The existing actors among the ids, by id."""
        statement = _select().where(actors.c.id.in_(actor_ids))
        async with self._database.transaction() as connection:
            return {row.id: _actor(row) for row in await connection.execute(statement)}

    async def page(self, size: int, after_id: int) -> list[Actor]:
        """At most `size` actors whose ids are greater than `after_id`, in order."""
        statement = _select().where(actors.c.id > after_id).order_by(actors.c.id).limit(size)
        async with self._database.transaction() as connection:
            return [_actor(row) for row in await connection.execute(statement)]

    async def update(
        self,
        actor_id: int,
        etag: str,
        change: Callable[[Actor], Actor],
        *,
        validate_only: bool = False,
    ) -> Actor:
        """Store the actor that `change` returns for the current one.

        Errors: ActorNotFound, EtagMismatch, AlreadyExists if another actor has the name.
        """
        async with write_transaction(self._database, validate_only=validate_only) as connection:
            before = await _lock(connection, actor_id)
            check_etag(before, etag)
            after = change(before)
            if after == before:
                return before
            await connection.execute(
                update(actors)
                .where(actors.c.id == actor_id)
                .values(
                    name=after.name,
                    version=actors.c.version + 1,
                    update_time=func.clock_timestamp(),
                )
            )
            if after.aliases != before.aliases:
                await connection.execute(
                    delete(actor_aliases).where(actor_aliases.c.actor_id == actor_id)
                )
                await _write_aliases(connection, actor_id, after.aliases)
            return await _read(connection, actor_id)

    async def delete(
        self, actor_id: int, etag: str, *, force: bool, validate_only: bool = False
    ) -> None:
        """Delete an actor and, with `force`, the tokens that have no other actor.

        Errors: ActorNotFound, EtagMismatch, ActorInUse if it has tokens and `force` is not set.
        """
        async with write_transaction(self._database, validate_only=validate_only) as connection:
            actor = await _lock(connection, actor_id)
            check_etag(actor, etag)
            if actor.token_count and not force:
                raise ActorInUse(actor_id=actor_id, token_count=actor.token_count)
            await _remove_from_tokens(connection, actor_id)
            await connection.execute(delete(actors).where(actors.c.id == actor_id))


def _select() -> Select[Any]:
    aliases = (
        select(actor_aliases.c.alias)
        .where(actor_aliases.c.actor_id == actors.c.id)
        .order_by(actor_aliases.c.position)
        .scalar_subquery()
    )
    token_count = (
        select(func.count())
        .select_from(token_actors)
        .where(token_actors.c.actor_id == actors.c.id)
        .scalar_subquery()
    )
    return select(actors, func.array(aliases).label("aliases"), token_count.label("token_count"))


def _actor(row: Row[Any]) -> Actor:
    return Actor(
        name=row.name,
        aliases=tuple(row.aliases),
        id=row.id,
        create_time=row.create_time,
        update_time=row.update_time,
        version=row.version,
        token_count=row.token_count,
    )


async def _read(connection: AsyncConnection, actor_id: int) -> Actor:
    row = (await connection.execute(_select().where(actors.c.id == actor_id))).one_or_none()
    if row is None:
        raise ActorNotFound(actor_id=actor_id)
    return _actor(row)


async def _lock(connection: AsyncConnection, actor_id: int) -> Actor:
    """Read an actor and lock it, also against new references, until this transaction ends."""
    await connection.execute(select(actors.c.id).where(actors.c.id == actor_id).with_for_update())
    return await _read(connection, actor_id)


async def _write_aliases(
    connection: AsyncConnection, actor_id: int, aliases: Sequence[str]
) -> None:
    rows = [
        {"actor_id": actor_id, "position": position, "alias": alias}
        for position, alias in enumerate(aliases)
    ]
    if rows:
        await connection.execute(insert(actor_aliases), rows)


async def _remove_from_tokens(connection: AsyncConnection, actor_id: int) -> None:
    """Remove an actor from its tokens, and delete the tokens that have no other actor."""
    with_actor = select(token_actors.c.token_id).where(token_actors.c.actor_id == actor_id)
    others = token_actors.alias()
    shared = (
        select(others.c.token_id)
        .where(others.c.token_id == tokens.c.id, others.c.actor_id != actor_id)
        .exists()
    )
    await connection.execute(delete(tokens).where(tokens.c.id.in_(with_actor), ~shared))
    await connection.execute(
        update(tokens)
        .where(tokens.c.id.in_(with_actor))
        .values(version=tokens.c.version + 1, update_time=func.clock_timestamp())
    )
    await connection.execute(delete(token_actors).where(token_actors.c.actor_id == actor_id))

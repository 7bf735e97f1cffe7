"""Actors and their aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import ARRAY, Integer, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.errors import ActorInUse, ActorNotFound, id_list
from services.catalog.models import Actor
from services.catalog.slices import map_in_slices
from services.catalog.store.idempotency import (
    CreateOptions,
    check_etag,
    find_created,
    record_created,
    write_transaction,
)
from services.catalog.store.rows import actor_of, select_actors
from services.catalog.tables import actor_aliases, actors, token_actors, tokens
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.statements import Statement

_ACTOR = Statement(select_actors().where(actors.c.id == bindparam("id")))
_ACTORS = Statement(
    select_actors().where(actors.c.id == func.any(bindparam("ids", type_=ARRAY(Integer))))
)
_PAGE = Statement(
    select_actors()
    .where(actors.c.id > bindparam("after_id"))
    .order_by(actors.c.id)
    .limit(bindparam("size"))
)


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
        async with self._database.connection() as connection:
            row = await _ACTOR.row(connection, id=actor_id)
        if row is None:
            raise ActorNotFound(actor_id=actor_id)
        return actor_of(row)

    async def get_many(self, actor_ids: Sequence[int]) -> list[Actor]:
        """Read actors in the order of the ids. Errors: ActorNotFound, with the missing ids."""
        async with self._database.connection() as connection:
            rows = await _ACTORS.rows(connection, ids=list(actor_ids))
        found = {actor.id: actor for actor in await map_in_slices(actor_of, rows)}
        if missing := [each for each in actor_ids if each not in found]:
            raise ActorNotFound(actor_id=id_list(missing))
        return [found[each] for each in actor_ids]

    async def page(self, size: int, after_id: int) -> list[Actor]:
        """At most `size` actors whose ids are greater than `after_id`, in order."""
        async with self._database.connection() as connection:
            rows = await _PAGE.rows(connection, size=size, after_id=after_id)
        return await map_in_slices(actor_of, rows)

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


async def _read(connection: AsyncConnection, actor_id: int) -> Actor:
    statement = select_actors().where(actors.c.id == actor_id)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise ActorNotFound(actor_id=actor_id)
    return actor_of(row)


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

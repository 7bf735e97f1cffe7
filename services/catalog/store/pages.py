"""Pages of tokens, in three orders, each read from an index where the page before ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, tuple_, union
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.models import Token, TokenFilter
from services.catalog.store.rows import read_token, select_tokens, token_of
from services.catalog.store.search import contains
from services.catalog.tables import scripts, token_actors, tokens
from services.runtime.database import Database

LAST_ID = 2**31 - 1

_RING_PLACE = func.hashint4(tokens.c.id)


@dataclass(frozen=True)
class Ring:
    """A place in the shuffled order.

    All tokens stand on a ring, each at the hash of its id, and a page chain goes once
    around it from its start. `hash` and `id` are those of the last token that was
    passed, or the start itself.
    """

    start: int
    is_past_end: bool
    hash: int
    id: int

    @classmethod
    def begin(cls, start: int) -> Ring:
        """The place before the first token of a chain."""
        return cls(start, is_past_end=False, hash=start, id=LAST_ID)


class TokenPages:
    """Lists of tokens. Every method reads at most `size` tokens after a place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self, wanted: TokenFilter, size: int, before_id: int) -> list[Token]:
        """Tokens with smaller ids, the greatest first."""
        statement = _filtered(wanted).where(tokens.c.id < before_id).order_by(tokens.c.id.desc())
        async with self._database.transaction() as connection:
            return await _read(connection, statement.limit(size))

    async def popular(self, wanted: TokenFilter, size: int, before: tuple[int, int]) -> list[Token]:
        """Tokens with fewer views, or as many and a smaller id, the most viewed first."""
        async with self._database.transaction() as connection:
            return await _read(connection, _by_views(_filtered(wanted), before).limit(size))

    async def related(self, token_id: int, size: int, before: tuple[int, int]) -> list[Token]:
        """Tokens that share an actor, the most viewed first. Errors: TokenNotFound."""
        own = select(token_actors.c.actor_id).where(token_actors.c.token_id == token_id)
        related = select(token_actors.c.token_id).where(
            token_actors.c.actor_id.in_(own), token_actors.c.token_id != token_id
        )
        statement = select_tokens().where(tokens.c.id.in_(related))
        async with self._database.transaction() as connection:
            await read_token(connection, token_id)
            return await _read(connection, _by_views(statement, before).limit(size))

    async def shuffled(
        self, wanted: TokenFilter, size: int, after: Ring
    ) -> list[tuple[Ring, Token]]:
        """Tokens further along the ring, each with its place."""
        found: list[tuple[Ring, Token]] = []
        async with self._database.transaction() as connection:
            if not after.is_past_end:
                found = await _read_ring(connection, wanted, size, after)
                after = Ring(after.start, is_past_end=True, hash=-(2**31), id=0)
            if len(found) < size:
                found += await _read_ring(connection, wanted, size - len(found), after)
        return found


def _filtered(wanted: TokenFilter) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.category:
        conditions.append(tokens.c.category == wanted.category)
    if wanted.actor_id is not None:
        of_actor = select(token_actors.c.token_id).where(token_actors.c.actor_id == wanted.actor_id)
        conditions.append(tokens.c.id.in_(of_actor))
    if wanted.max_duration is not None:
        conditions.append(tokens.c.end_time - tokens.c.start_time <= wanted.max_duration)
    if wanted.text:
        named = select(tokens.c.id).where(contains("search_key", tokens.c.name, wanted.text))
        spoken = select(scripts.c.token_id).where(contains("fold", scripts.c.text, wanted.text))
        conditions.append(tokens.c.id.in_(union(named, spoken)))
    return select_tokens().where(*conditions)


def _by_views(statement: Select[Any], before: tuple[int, int]) -> Select[Any]:
    place = tuple_(tokens.c.view_count, tokens.c.id)
    return statement.where(place < before).order_by(tokens.c.view_count.desc(), tokens.c.id.desc())


async def _read(connection: AsyncConnection, statement: Select[Any]) -> list[Token]:
    return [token_of(row) for row in await connection.execute(statement)]


async def _read_ring(
    connection: AsyncConnection, wanted: TokenFilter, size: int, after: Ring
) -> list[tuple[Ring, Token]]:
    place = tuple_(_RING_PLACE, tokens.c.id)
    statement = (
        _filtered(wanted)
        .add_columns(_RING_PLACE.label("place"))
        .where(place > (after.hash, after.id))
        .order_by(_RING_PLACE, tokens.c.id)
        .limit(size)
    )
    if after.is_past_end:
        statement = statement.where(after.start >= _RING_PLACE)
    return [
        (Ring(after.start, after.is_past_end, row.place, row.id), token_of(row))
        for row in await connection.execute(statement)
    ]

"""Pages of tokens in three orders. Each page is read from an index, after the previous page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, tuple_, union
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.models import Token, TokenFilter
from services.catalog.store.rows import read_token, select_tokens, token_of
from services.catalog.store.search import contains
from services.catalog.tables import scripts, token_actors, tokens
from services.runtime.database import Database, retried_on_schema_change

LAST_ID = 2**31 - 1

_RING_HASH = func.hashint4(tokens.c.id)


@dataclass(frozen=True)
class Ring:
    """A position in the shuffled order.

    All tokens lie on a ring, sorted by the hash of their ids. The pages of a list cover the
    ring once.

    start: the hash at which the first page starts, -2**31 to 2**31 - 1.
    is_past_end: whether the pages have passed the end of the hash range and continue at its
        beginning.
    hash, id: those of the last token read; before the first token, the start.
    """

    start: int
    is_past_end: bool
    hash: int
    id: int

    @classmethod
    def begin(cls, start: int) -> Ring:
        """The position before the first token."""
        return cls(start, is_past_end=False, hash=start, id=LAST_ID)


@retried_on_schema_change
class TokenPages:
    """Lists of tokens. Every method reads at most `size` tokens after a position."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self, token_filter: TokenFilter, size: int, before_id: int) -> list[Token]:
        """Tokens whose ids are smaller than `before_id`, the newest first."""
        statement = (
            _filtered(token_filter)
            .where(tokens.c.id < before_id)
            .order_by(tokens.c.id.desc())
            .limit(size)
        )
        async with self._database.transaction() as connection:
            return await _read(connection, statement)

    async def popular(
        self, token_filter: TokenFilter, size: int, before: tuple[int, int]
    ) -> list[Token]:
        """Tokens by view count, the most viewed first.

        before: the view count and id of the last token read.
        """
        async with self._database.transaction() as connection:
            return await _read(connection, _by_views(_filtered(token_filter), before).limit(size))

    async def related(self, token_id: int, size: int, before: tuple[int, int]) -> list[Token]:
        """Tokens that share an actor with a token, the most viewed first.

        before: the view count and id of the last token read. Errors: TokenNotFound.
        """
        actor_ids = select(token_actors.c.actor_id).where(token_actors.c.token_id == token_id)
        related = select(token_actors.c.token_id).where(
            token_actors.c.actor_id.in_(actor_ids), token_actors.c.token_id != token_id
        )
        statement = select_tokens().where(tokens.c.id.in_(related))
        async with self._database.transaction() as connection:
            await read_token(connection, token_id)
            return await _read(connection, _by_views(statement, before).limit(size))

    async def shuffled(
        self, token_filter: TokenFilter, size: int, after: Ring
    ) -> list[tuple[Ring, Token]]:
        """Tokens after a position on the ring, each with its own position."""
        found: list[tuple[Ring, Token]] = []
        async with self._database.transaction() as connection:
            if not after.is_past_end:
                found = await _read_ring(connection, token_filter, size, after)
                after = Ring(after.start, is_past_end=True, hash=-(2**31), id=0)
            if len(found) < size:
                found += await _read_ring(connection, token_filter, size - len(found), after)
        return found


def _filtered(token_filter: TokenFilter) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if token_filter.category:
        conditions.append(tokens.c.category == token_filter.category)
    if token_filter.actor_id is not None:
        of_actor = select(token_actors.c.token_id).where(
            token_actors.c.actor_id == token_filter.actor_id
        )
        conditions.append(tokens.c.id.in_(of_actor))
    if token_filter.max_duration is not None:
        conditions.append(tokens.c.end_time - tokens.c.start_time <= token_filter.max_duration)
    if query := token_filter.text:
        by_name = select(tokens.c.id).where(contains("search_key", tokens.c.name, query))
        by_script = select(scripts.c.token_id).where(contains("fold", scripts.c.text, query))
        conditions.append(tokens.c.id.in_(union(by_name, by_script)))
    return select_tokens().where(*conditions)


def _by_views(statement: Select[Any], before: tuple[int, int]) -> Select[Any]:
    position = tuple_(tokens.c.view_count, tokens.c.id)
    return statement.where(position < before).order_by(
        tokens.c.view_count.desc(), tokens.c.id.desc()
    )


async def _read(connection: AsyncConnection, statement: Select[Any]) -> list[Token]:
    return [token_of(row) for row in await connection.execute(statement)]


async def _read_ring(
    connection: AsyncConnection, token_filter: TokenFilter, size: int, after: Ring
) -> list[tuple[Ring, Token]]:
    position = tuple_(_RING_HASH, tokens.c.id)
    statement = (
        _filtered(token_filter)
        .add_columns(_RING_HASH.label("hash"))
        .where(position > (after.hash, after.id))
        .order_by(_RING_HASH, tokens.c.id)
        .limit(size)
    )
    if after.is_past_end:
        statement = statement.where(after.start >= _RING_HASH)
    return [
        (Ring(after.start, after.is_past_end, row.hash, row.id), token_of(row))
        for row in await connection.execute(statement)
    ]

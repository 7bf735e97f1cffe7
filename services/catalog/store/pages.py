"""Pages of tokens in three orders. Each page is read from an index, after the previous page.

A page is one statement. There is one for each order and set of filters, compiled at its first
use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    union,
    union_all,
)

from services.catalog.models import Token, TokenFilter
from services.catalog.slices import map_in_slices
from services.catalog.store.rows import Fields, select_tokens, token_of
from services.catalog.store.search import contains
from services.catalog.tables import scripts, token_actors, tokens
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.shared_errors import TokenNotFound
from services.runtime.statements import Statement

LAST_ID = 2**31 - 1
FIRST_HASH, LAST_HASH = -(2**31), 2**31 - 1

Filters = frozenset[str]
"""The filters of a list that are set, by their names in `TokenFilter`."""

_RING_HASH = func.hashint4(tokens.c.id)
_SIZE = bindparam("size", type_=Integer)
_BEFORE_ID = bindparam("before_id", type_=Integer)


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
        values = _values(token_filter)
        statement = _latest(Filters(values))
        return await self._read(statement, size=size, before_id=before_id, **values)

    async def popular(
        self, token_filter: TokenFilter, size: int, before: tuple[int, int]
    ) -> list[Token]:
        """Tokens by view count, the most viewed first.

        before: the view count and id of the last token read.
        """
        values = _values(token_filter)
        views, before_id = before
        return await self._read(
            _popular(Filters(values)), size=size, views=views, before_id=before_id, **values
        )

    async def related(self, token_id: int, size: int, before: tuple[int, int]) -> list[Token]:
        """Tokens that share an actor with a token, the most viewed first.

        before: the view count and id of the last token read. Errors: TokenNotFound.
        """
        views, before_id = before
        async with self._database.connection() as connection:
            rows = await _RELATED.rows(
                connection, token_id=token_id, size=size, views=views, before_id=before_id
            )
        if not rows:
            raise TokenNotFound(token_id=token_id)
        return await map_in_slices(token_of, (row for row in rows if row["id"] is not None))

    async def shuffled(
        self, token_filter: TokenFilter, size: int, after: Ring
    ) -> list[tuple[Ring, Token]]:
        """Tokens after a position on the ring, each with its own position."""
        values = _values(token_filter)
        async with self._database.connection() as connection:
            rows = await _shuffled(Filters(values)).rows(
                connection,
                size=size,
                # No token is between a position past the end and the end.
                after_hash=LAST_HASH if after.is_past_end else after.hash,
                after_id=LAST_ID if after.is_past_end else after.id,
                again_after_hash=after.hash if after.is_past_end else FIRST_HASH,
                again_after_id=after.id if after.is_past_end else 0,
                start=after.start,
                **values,
            )

        def placed(row: Fields) -> tuple[Ring, Token]:
            ring = Ring(after.start, row["is_past_end"], row["hash"], row["id"])
            return ring, token_of(row)

        return await map_in_slices(placed, rows)

    async def _read(self, statement: Statement, **parameters: object) -> list[Token]:
        async with self._database.connection() as connection:
            rows = await statement.rows(connection, **parameters)
        return await map_in_slices(token_of, rows)


def _values(token_filter: TokenFilter) -> dict[str, object]:
    """The filters that are set, by name."""
    values = {
        "category": token_filter.category or None,
        "actor_id": token_filter.actor_id,
        "max_duration": token_filter.max_duration,
        "text": token_filter.text or None,
    }
    return {name: value for name, value in values.items() if value is not None}


@cache
def _latest(filters: Filters) -> Statement:
    return Statement(
        select_tokens()
        .where(tokens.c.id < _BEFORE_ID, *_conditions(filters))
        .order_by(tokens.c.id.desc())
        .limit(_SIZE)
    )


@cache
def _popular(filters: Filters) -> Statement:
    return Statement(_by_views(select_tokens().where(*_conditions(filters))))


@cache
def _shuffled(filters: Filters) -> Statement:
    position = tuple_(_RING_HASH, tokens.c.id)
    after = tuple_(_parameter("after_hash"), _parameter("after_id"))
    again_after = tuple_(_parameter("again_after_hash"), _parameter("again_after_id"))
    parts = [
        _part_of_ring(filters, False, position > after),
        _part_of_ring(filters, True, position > again_after, _parameter("start") >= _RING_HASH),
    ]
    ring = union_all(*(select(part.subquery()) for part in parts)).subquery()
    order = (ring.c.is_past_end, ring.c.hash, ring.c.id)
    page = select(ring).order_by(*order).limit(_SIZE).subquery()
    return Statement(
        select_tokens()
        .add_columns(page.c.is_past_end, page.c.hash)
        .join(page, page.c.id == tokens.c.id)
        .order_by(page.c.is_past_end, page.c.hash, page.c.id)
    )


def _part_of_ring(
    filters: Filters, is_past_end: bool, *between: ColumnElement[bool]
) -> Select[Any]:
    return (
        select(tokens.c.id, _RING_HASH.label("hash"), literal(is_past_end).label("is_past_end"))
        .where(*between, *_conditions(filters))
        .order_by(_RING_HASH, tokens.c.id)
        .limit(_SIZE)
    )


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    by_text = bindparam("text", type_=Text)
    of_actor = select(token_actors.c.token_id).where(
        token_actors.c.actor_id == bindparam("actor_id")
    )
    by_name = select(tokens.c.id).where(contains("search_key", tokens.c.name, by_text))
    by_script = select(scripts.c.token_id).where(contains("fold", scripts.c.text, by_text))
    conditions = {
        "category": tokens.c.category == bindparam("category"),
        "actor_id": tokens.c.id.in_(of_actor),
        "max_duration": tokens.c.end_time - tokens.c.start_time <= bindparam("max_duration"),
        "text": tokens.c.id.in_(union(by_name, by_script)),
    }
    return [condition for name, condition in conditions.items() if name in filters]


def _by_views(statement: Select[Any]) -> Select[Any]:
    position = tuple_(tokens.c.view_count, tokens.c.id)
    return (
        statement.where(position < tuple_(_parameter("views"), _BEFORE_ID))
        .order_by(tokens.c.view_count.desc(), tokens.c.id.desc())
        .limit(_SIZE)
    )


def _related() -> Executable:
    """The related tokens; without any, a row of nulls; no row if the token does not exist."""
    token_id = _parameter("token_id")
    actor_ids = select(token_actors.c.actor_id).where(token_actors.c.token_id == token_id)
    related = select(token_actors.c.token_id).where(
        token_actors.c.actor_id.in_(actor_ids), token_actors.c.token_id != token_id
    )
    page = _by_views(select_tokens().where(tokens.c.id.in_(related))).subquery()
    token = select(tokens.c.id.label("related_to")).where(tokens.c.id == token_id).subquery()
    return (
        select(page)
        .select_from(token.outerjoin(page, literal(True)))
        .order_by(page.c.view_count.desc(), page.c.id.desc())
    )


def _parameter(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=Integer)


_RELATED = Statement(_related())

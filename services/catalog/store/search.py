"""Search of actors and tokens by trigrams of their names (see the functions in `tables`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, literal, text

from services.catalog.matching import has_letters, highlights, is_initials
from services.catalog.models import TextMatch
from services.runtime.database import Database

# Least similarities, from 0 to 1, of the whole name and of a part of it: found by trial
# on 2,000 names with typos, see tests/integration/test_catalog_search.py.
NAME_SIMILARITY = 0.36
PART_SIMILARITY = 0.5

_THRESHOLDS = text(
    f"SELECT set_config('pg_trgm.similarity_threshold', '{NAME_SIMILARITY}', true),"
    f" set_config('pg_trgm.word_similarity_threshold', '{PART_SIMILARITY}', true)"
)

Found = tuple[int, TextMatch]
"""The id of what was found, and by what."""


def contains(key: str, column: ColumnElement[str], query: str) -> ColumnElement[bool]:
    """Whether a column contains a query, both folded by the SQL function `key`."""
    folded = getattr(func.catalog, key)
    escaped = func.regexp_replace(folded(literal(query)), r"([\\%_])", r"\\\1", "g")
    condition: ColumnElement[bool] = folded(column).like(
        literal("%").concat(escaped).concat(literal("%"))
    )
    return condition


class Search:
    """Finds actors and tokens, the best first, and says what of them matches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def actors(self, query: str, size: int) -> list[Found]:
        """Ids of at most `size` actors, with their name or alias that matches best."""
        return await self._find(_best_actors(_way_of(query)), query, size)

    async def tokens(self, query: str, size: int) -> list[Found]:
        """Ids of at most `size` tokens, with their name or their actor's that matches best."""
        return await self._find(_best_tokens(_way_of(query)), query, size)

    async def _find(self, statement: str, query: str, size: int) -> list[Found]:
        query = query.strip()
        async with self._database.transaction() as connection:
            await connection.execute(_THRESHOLDS)
            rows = await connection.execute(text(statement), {"query": query, "size": size})
            return [_found(row, query) for row in rows]


@dataclass(frozen=True)
class _Way:
    """A way to compare names with the query, as SQL where `{name}` stands for the column.

    condition: whether it is a match; uses an index.
    score: how good a match is.
    """

    condition: str
    score: str


_KEY, _QUERY = "catalog.search_key({name})", "catalog.search_key(:query)"
_PATTERN = rf"regexp_replace({_QUERY}, '([\\%_])', '\\\1', 'g')"
_INITIALS, _QUERY_INITIALS = "catalog.initials_key({name})", "catalog.initials_key(:query)"

_LETTERS_SCORE = f"""
    CASE
        WHEN {_KEY} = {_QUERY} THEN 1
        WHEN {_KEY} LIKE {_PATTERN} || '%' THEN 0.95
        WHEN {_KEY} LIKE '%  ' || {_PATTERN} || '%' THEN 0.9
        WHEN {_KEY} LIKE '%' || {_PATTERN} || '%' THEN 0.85
        ELSE 0.8 * greatest(similarity({_KEY}, {_QUERY}), 0.9 * word_similarity({_QUERY}, {_KEY}))
    END
"""
_BY_LETTERS = _Way(
    f"({_KEY} LIKE '%' || {_PATTERN} || '%' OR {_KEY} % {_QUERY} OR {_QUERY} <% {_KEY})",
    _LETTERS_SCORE,
)
# A single letter has no trigram but at the beginning of a name.
_BY_FIRST_LETTER = _Way(f"{_KEY} LIKE {_PATTERN} || '%'", _LETTERS_SCORE)
_BY_INITIALS = _Way(
    f"{_INITIALS} LIKE '%' || {_QUERY_INITIALS} || '%'",
    f"""
    CASE
        WHEN {_INITIALS} = {_QUERY_INITIALS} THEN 0.95
        WHEN {_INITIALS} LIKE {_QUERY_INITIALS} || '%' THEN 0.9
        ELSE 0.85
    END
    """,
)
# Signs alone, such as emoji, have no trigrams.
_EXACTLY = _Way("{name} = normalize(:query, NFC)", "1")


def _way_of(query: str) -> _Way:
    if is_initials(query):
        return _BY_INITIALS
    if not has_letters(query):
        return _EXACTLY
    # A syllable of Hangul is two letters or more.
    is_letter = len(query.strip()) == 1 and not "가" <= query.strip() <= "힣"
    return _BY_FIRST_LETTER if is_letter else _BY_LETTERS


def _matches(way: _Way, table: str, id_column: str, name: str) -> str:
    condition, score = way.condition.format(name=name), way.score.format(name=name)
    return (
        f"SELECT {id_column} AS id, {name} AS name, ({score})::double precision AS score"
        f" FROM catalog.{table} WHERE {condition}"
    )


def _best_actors(way: _Way) -> str:
    return f"""
        SELECT id, name, score FROM (
            SELECT DISTINCT ON (id) id, name, score
            FROM (
                {_matches(way, "actors", "id", "name")}
                UNION ALL
                {_matches(way, "actor_aliases", "actor_id", "alias")}
            ) AS named
            ORDER BY id, score DESC, length(name)
        ) AS best
        ORDER BY score DESC, length(name), id
        LIMIT :size
    """


def _best_tokens(way: _Way) -> str:
    return f"""
        WITH heard AS ({_best_actors(way)}),
        matches AS (
            {_matches(way, "tokens", "id", "name")}
            UNION ALL
            SELECT played.id, heard.name, 0.9 * heard.score
            FROM heard CROSS JOIN LATERAL (
                SELECT token.id
                FROM catalog.token_actors AS cast_
                JOIN catalog.tokens AS token ON token.id = cast_.token_id
                WHERE cast_.actor_id = heard.id
                ORDER BY token.view_count DESC, token.id DESC
                LIMIT :size
            ) AS played
        )
        SELECT best.id, best.name, best.score FROM (
            SELECT DISTINCT ON (id) id, name, score FROM matches ORDER BY id, score DESC
        ) AS best
        JOIN catalog.tokens AS token ON token.id = best.id
        ORDER BY best.score DESC, token.view_count DESC, best.id DESC
        LIMIT :size
    """


def _found(row: Row[Any], query: str) -> Found:
    return row.id, TextMatch(row.name, row.score, highlights(row.name, query))

"""Searches actors and tokens by the trigrams of their names (see the functions in `tables`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, literal, text

from services.catalog.matching import (
    has_letters,
    highlights,
    is_initials,
    with_parted_initials,
)
from services.catalog.models import TextMatch
from services.runtime.database import Database, retried_on_schema_change

# The lowest similarities, 0 to 1, at which a query matches a whole name or a part of it. They
# were chosen on 2,000 names with typos: see tests/integration/catalog/test_search.py.
NAME_SIMILARITY = 0.36
PART_SIMILARITY = 0.5

_THRESHOLDS = text(
    f"SELECT set_config('pg_trgm.similarity_threshold', '{NAME_SIMILARITY}', true),"
    f" set_config('pg_trgm.word_similarity_threshold', '{PART_SIMILARITY}', true)"
)

Hit = tuple[int, TextMatch]
"""The id of an actor or token, and the text that matches."""


def contains(key: str, column: ColumnElement[str], query: str) -> ColumnElement[bool]:
    """The condition that a column contains a query, both folded by the SQL function `key`."""
    folded = getattr(func.catalog, key)
    escaped = func.regexp_replace(folded(literal(query)), r"([\\%_])", r"\\\1", "g")
    condition: ColumnElement[bool] = folded(column).like(
        literal("%").concat(escaped).concat(literal("%"))
    )
    return condition


@retried_on_schema_change
class Search:
    """Finds actors and tokens, the best match first, with the text that matches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def actors(self, query: str, size: int) -> list[Hit]:
        """At most `size` actors, each with the name or alias that matches best."""
        return await self._find(_best_actors, query, size)

    async def tokens(self, query: str, size: int) -> list[Hit]:
        """At most `size` tokens, each with its own or its actor's name that matches best."""
        return await self._find(_best_tokens, query, size)

    async def _find(
        self, statement_for: Callable[[_Comparison], str], typed: str, size: int
    ) -> list[Hit]:
        typed = typed.strip()
        parameters: dict[str, object] = {"query": typed, "size": size}
        comparison = _comparison_for(typed)
        parted = with_parted_initials(typed)
        if parted != typed:
            # Names contain joined consonants, too.
            comparison = comparison.or_else(_comparison_for(parted).with_query("parted"))
            parameters["parted"] = parted
        async with self._database.transaction() as connection:
            await connection.execute(_THRESHOLDS)
            rows = await connection.execute(text(statement_for(comparison)), parameters)
            return [_hit(row, typed) for row in rows]


@dataclass(frozen=True)
class _Comparison:
    """How to compare names with the query, as SQL in which `{name}` is the column.

    condition: whether the name matches; uses an index.
    score: how well the name matches, 0 to 1.
    """

    condition: str
    score: str

    def with_query(self, parameter: str) -> _Comparison:
        """The same comparison with a query in another parameter of the statement."""
        return _Comparison(
            self.condition.replace(":query", f":{parameter}"),
            self.score.replace(":query", f":{parameter}"),
        )

    def or_else(self, other: _Comparison) -> _Comparison:
        """A comparison that matches what either one matches, with the better score."""
        return _Comparison(
            f"({self.condition} OR {other.condition})",
            f"greatest(CASE WHEN {self.condition} THEN {self.score} END,"
            f" CASE WHEN {other.condition} THEN {other.score} END)",
        )


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
_BY_LETTERS = _Comparison(
    f"({_KEY} LIKE '%' || {_PATTERN} || '%' OR {_KEY} % {_QUERY} OR {_QUERY} <% {_KEY})",
    _LETTERS_SCORE,
)
# A single letter has a trigram only at the beginning of a name.
_BY_FIRST_LETTER = _Comparison(f"{_KEY} LIKE {_PATTERN} || '%'", _LETTERS_SCORE)
_BY_INITIALS = _Comparison(
    f"{_INITIALS} LIKE '%' || {_QUERY_INITIALS} || '%'",
    f"""
    CASE
        WHEN {_INITIALS} = {_QUERY_INITIALS} THEN 0.95
        WHEN {_INITIALS} LIKE {_QUERY_INITIALS} || '%' THEN 0.9
        ELSE 0.85
    END
    """,
)
# Symbols without letters, such as emoji, have no trigrams.
_EXACTLY = _Comparison("{name} = normalize(:query, NFC)", "1")


def _comparison_for(query: str) -> _Comparison:
    if is_initials(query):
        return _BY_INITIALS
    if not has_letters(query):
        return _EXACTLY
    # A Hangul syllable has two letters or more.
    is_letter = len(query.strip()) == 1 and not "가" <= query.strip() <= "힣"
    return _BY_FIRST_LETTER if is_letter else _BY_LETTERS


def _matches(comparison: _Comparison, table: str, id_column: str, name: str) -> str:
    condition = comparison.condition.format(name=name)
    score = comparison.score.format(name=name)
    return (
        f"SELECT {id_column} AS id, {name} AS name, ({score})::double precision AS score"
        f" FROM catalog.{table} WHERE {condition}"
    )


def _best_actors(comparison: _Comparison) -> str:
    return f"""
        SELECT id, name, score FROM (
            SELECT DISTINCT ON (id) id, name, score
            FROM (
                {_matches(comparison, "actors", "id", "name")}
                UNION ALL
                {_matches(comparison, "actor_aliases", "actor_id", "alias")}
            ) AS name_matches
            ORDER BY id, score DESC, length(name)
        ) AS best
        ORDER BY score DESC, length(name), id
        LIMIT :size
    """


def _best_tokens(comparison: _Comparison) -> str:
    return f"""
        WITH best_actors AS ({_best_actors(comparison)}),
        matches AS (
            {_matches(comparison, "tokens", "id", "name")}
            UNION ALL
            SELECT actor_tokens.id, best_actors.name, 0.9 * best_actors.score
            FROM best_actors CROSS JOIN LATERAL (
                SELECT token.id
                FROM catalog.token_actors AS token_actor
                JOIN catalog.tokens AS token ON token.id = token_actor.token_id
                WHERE token_actor.actor_id = best_actors.id
                ORDER BY token.view_count DESC, token.id DESC
                LIMIT :size
            ) AS actor_tokens
        )
        SELECT best.id, best.name, best.score FROM (
            SELECT DISTINCT ON (id) id, name, score FROM matches ORDER BY id, score DESC
        ) AS best
        JOIN catalog.tokens AS token ON token.id = best.id
        ORDER BY best.score DESC, token.view_count DESC, best.id DESC
        LIMIT :size
    """


def _hit(row: Row[Any], query: str) -> Hit:
    return row.id, TextMatch(row.name, row.score, highlights(row.name, query))

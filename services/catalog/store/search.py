"""Searches actors and tokens by the trigrams of their names (see the functions in `tables`).

A search is one statement. There is one for each kind of query, compiled at its first use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Double, Integer, Subquery, Text, func, literal, text

from services.catalog.matching import (
    has_letters,
    highlights,
    is_initials,
    with_parted_initials,
)
from services.catalog.models import Actor, TextMatch, Token
from services.catalog.slices import map_in_slices
from services.catalog.store.rows import Fields, actor_of, select_actors, select_tokens, token_of
from services.catalog.tables import actors, tokens
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.statements import Statement

# The lowest similarities, 0 to 1, at which a query matches a whole name or a part of it. They
# were chosen on 2,000 names with typos: see tests/integration/catalog/test_search.py.
NAME_SIMILARITY = 0.36
PART_SIMILARITY = 0.5


def contains(
    key: str, column: ColumnElement[str], query: ColumnElement[str]
) -> ColumnElement[bool]:
    """The condition that a column contains a query, both folded by the SQL function `key`."""
    folded = getattr(func.catalog, key)
    escaped = func.regexp_replace(folded(query), r"([\\%_])", r"\\\1", "g")
    condition: ColumnElement[bool] = folded(column).like(
        literal("%").concat(escaped).concat(literal("%"))
    )
    return condition


@retried_on_schema_change
class Search:
    """Finds actors and tokens, the best match first, with the text that matches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def actors(self, query: str, size: int) -> list[tuple[Actor, TextMatch]]:
        """At most `size` actors, each with the name or alias that matches best."""
        rows = await self._find(_find_actors, query, size)
        return await map_in_slices(lambda row: (actor_of(row), _match(row, query)), rows)

    async def tokens(self, query: str, size: int) -> list[tuple[Token, TextMatch]]:
        """At most `size` tokens, each with its own or its actor's name that matches best."""
        rows = await self._find(_find_tokens, query, size)
        return await map_in_slices(lambda row: (token_of(row), _match(row, query)), rows)

    async def _find(
        self, statement_for: Callable[[_Comparison], Statement], typed: str, size: int
    ) -> list[Any]:
        typed = typed.strip()
        comparison = _comparison_for(typed)
        parted = with_parted_initials(typed)
        if parted != typed:
            # Names contain joined consonants, too.
            comparison = comparison.or_else(_comparison_for(parted).with_query("parted"))
        async with self._database.connection() as connection:
            return await statement_for(comparison).rows(
                connection, query=typed, parted=parted, size=size
            )


@dataclass(frozen=True)
class _Comparison:
    """How to compare names with the query, as SQL.

    In it, `{name}`, `{key}` and `{initials}` are the name and what `search_key` and
    `initials_key` make of it; `{query}` prefixes the same of the query.

    condition: whether the name matches; uses an index.
    score: how well the name matches, 0 to 1.
    """

    condition: str
    score: str

    def with_query(self, query: str) -> _Comparison:
        """The same comparison with another query."""
        return _Comparison(
            self.condition.replace("typed.", f"{query}."), self.score.replace("typed.", f"{query}.")
        )

    def or_else(self, other: _Comparison) -> _Comparison:
        """A comparison that matches what either one matches, with the better score."""
        return _Comparison(
            f"({self.condition} OR {other.condition})",
            f"greatest(CASE WHEN {self.condition} THEN {self.score} END,"
            f" CASE WHEN {other.condition} THEN {other.score} END)",
        )


_CONTAINS = "{key} LIKE '%' || typed.pattern || '%'"
_LETTERS_SCORE = """
    CASE
        WHEN {key} = typed.key THEN 1
        WHEN {key} LIKE typed.pattern || '%' THEN 0.95
        WHEN {key} LIKE '%  ' || typed.pattern || '%' THEN 0.9
        WHEN {key} LIKE '%' || typed.pattern || '%' THEN 0.85
        ELSE 0.8 * greatest(similarity({key}, typed.key), 0.9 * word_similarity(typed.key, {key}))
    END
"""
_BY_LETTERS = _Comparison(
    f"({_CONTAINS} OR {{key}} % typed.key OR typed.key <% {{key}})", _LETTERS_SCORE
)
# A single letter has a trigram only at the beginning of a name.
_BY_FIRST_LETTER = _Comparison("{key} LIKE typed.pattern || '%'", _LETTERS_SCORE)
_BY_INITIALS = _Comparison(
    "{initials} LIKE '%' || typed.initials || '%'",
    """
    CASE
        WHEN {initials} = typed.initials THEN 0.95
        WHEN {initials} LIKE typed.initials || '%' THEN 0.9
        ELSE 0.85
    END
    """,
)
# Symbols without letters, such as emoji, have no trigrams.
_EXACTLY = _Comparison("{name} = typed.name", "1")


def _comparison_for(query: str) -> _Comparison:
    if is_initials(query):
        return _BY_INITIALS
    if not has_letters(query):
        return _EXACTLY
    # A Hangul syllable has two letters or more.
    is_letter = len(query.strip()) == 1 and not "가" <= query.strip() <= "힣"
    return _BY_FIRST_LETTER if is_letter else _BY_LETTERS


@cache
def _find_actors(comparison: _Comparison) -> Statement:
    found = _found(_best_actors(comparison))
    return Statement(
        select_actors()
        .add_columns(found.c.match, found.c.score)
        .join(found, found.c.id == actors.c.id)
        .order_by(found.c.score.desc(), func.length(found.c.match), actors.c.id)
    )


@cache
def _find_tokens(comparison: _Comparison) -> Statement:
    found = _found(_best_tokens(comparison))
    return Statement(
        select_tokens()
        .add_columns(found.c.match, found.c.score)
        .join(found, found.c.id == tokens.c.id)
        .order_by(found.c.score.desc(), tokens.c.view_count.desc(), tokens.c.id.desc())
    )


def _found(best: str) -> Subquery:
    """The matches of a statement that refers to the query as `typed`, and as `parted`.

    Indexes are read with the thresholds of the session. PostgreSQL sets them first because
    `best` depends on a column of the same row.
    """
    parted = f"CROSS JOIN ({_query('parted')}) AS parted" if "parted." in best else ""
    statement = f"""
        SELECT best.id, best.name AS match, best.score
        FROM (
            SELECT query.*,
                set_config('pg_trgm.similarity_threshold', '{NAME_SIMILARITY}', true),
                set_config('pg_trgm.word_similarity_threshold', '{PART_SIMILARITY}', true)
            FROM ({_query("query")}) AS query
        ) AS typed {parted}
        CROSS JOIN LATERAL ({best}) AS best
    """
    columns = {"id": Integer, "match": Text, "score": Double}
    return text(statement).columns(**columns).subquery("found")


def _query(parameter: str) -> str:
    return rf"""
        SELECT
            catalog.search_key(:{parameter}) AS key,
            regexp_replace(catalog.search_key(:{parameter}), '([\\%_])', '\\\1', 'g') AS pattern,
            catalog.initials_key(:{parameter}) AS initials,
            normalize(:{parameter}, NFC) AS name
    """


def _matches(comparison: _Comparison, table: str, id_column: str, name: str) -> str:
    """The names that match. `OFFSET 0` keeps PostgreSQL from folding a name for each comparison."""
    key, initials = f"catalog.search_key({name})", f"catalog.initials_key({name})"
    condition = comparison.condition.format(name=name, key=key, initials=initials)
    score = comparison.score.format(name="name", key="key", initials="initials")
    return f"""
        SELECT id, name, ({score})::double precision AS score
        FROM (
            SELECT {id_column} AS id, {name} AS name, {key} AS key, {initials} AS initials
            FROM catalog.{table} WHERE {condition} OFFSET 0
        ) AS candidates
    """


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


def _match(row: Fields, query: str) -> TextMatch:
    return TextMatch(row["match"], row["score"], highlights(row["match"], query.strip()))

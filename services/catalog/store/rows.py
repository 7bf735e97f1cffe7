"""Reads actors, tokens and scripts, for all parts of the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.models import Actor, ReferenceAssets, Script, Token, Word
from services.catalog.tables import actor_aliases, actors, scripts, token_actors, tokens, words
from services.runtime.shared_errors import TokenNotFound


class Fields(Protocol):
    """A row whose values are found by name: one of asyncpg, or a mapping of SQLAlchemy."""

    def __getitem__(self, name: str, /) -> Any: ...


def select_actors() -> Select[Any]:
    """The statement that selects actors with their aliases and their number of tokens."""
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


def actor_of(row: Fields) -> Actor:
    """The actor in a row of `select_actors`."""
    return Actor(
        name=row["name"],
        aliases=tuple(row["aliases"]),
        id=row["id"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        version=row["version"],
        token_count=row["token_count"],
    )


def select_tokens() -> Select[Any]:
    """The statement that selects tokens with the ids of their actors."""
    actor_ids = (
        select(token_actors.c.actor_id)
        .where(token_actors.c.token_id == tokens.c.id)
        .order_by(token_actors.c.position)
        .scalar_subquery()
    )
    return select(tokens, func.array(actor_ids).label("actor_ids"))


def token_of(row: Fields, scripts_of_token: tuple[Script, ...] = ()) -> Token:
    """The token in a row of `select_tokens`."""
    return Token(
        name=row["name"],
        actor_ids=tuple(row["actor_ids"]),
        category=row["category"],
        source_url=row["source_url"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        reference_assets=ReferenceAssets(
            row["voice_key"], row["pitch_key"], row["alignment_key"], row["background_key"]
        ),
        thumbnail_url=row["thumbnail_url"],
        view_count=row["view_count"],
        revision=row["revision"],
        scripts=scripts_of_token,
        id=row["id"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        version=row["version"],
    )


async def read_token(connection: AsyncConnection, token_id: int) -> Token:
    """Read a token without its scripts. Errors: TokenNotFound."""
    statement = select_tokens().where(tokens.c.id == token_id)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise TokenNotFound(token_id=token_id)
    return token_of(row)


async def lock_token(connection: AsyncConnection, token_id: int) -> Token:
    """Read a token and lock it until this transaction ends. Errors: TokenNotFound."""
    await connection.execute(select(tokens.c.id).where(tokens.c.id == token_id).with_for_update())
    return await read_token(connection, token_id)


def script_columns() -> list[ColumnElement[Any]]:
    """The columns of a script, which `script_of` reads; the last one is the array of its words."""
    of_script = (
        select(func.row(words.c.text, words.c.start_time, words.c.end_time, words.c.probability))
        .where(words.c.script_id == scripts.c.id)
        .order_by(words.c.position)
        .scalar_subquery()
    )
    columns = scripts.c
    return [
        *(columns.id, columns.token_id, columns.text, columns.translation),
        *(columns.language_code, columns.start_time, columns.end_time),
        *(columns.create_time, columns.update_time, columns.version),
        func.array(of_script),
    ]


def scripts_column() -> ColumnElement[Any]:
    """The scripts of a token of the enclosing statement, in the order of their start."""
    of_token = (
        select(func.row(*script_columns()))
        .where(scripts.c.token_id == tokens.c.id)
        .order_by(scripts.c.start_time, scripts.c.id)
        .scalar_subquery()
    )
    column: ColumnElement[Any] = func.array(of_token)
    return column


def script_of(columns: Iterable[Any]) -> Script:
    """The script in the values of `script_columns`."""
    script_id, token_id, text, translation, language_code, start, end, *rest = columns
    create_time, update_time, version, of_script = rest
    return Script(
        token_id=token_id,
        text=text,
        translation=translation,
        language_code=language_code,
        start_time=start,
        end_time=end,
        words=tuple(Word(*word) for word in of_script),
        id=script_id,
        create_time=create_time,
        update_time=update_time,
        version=version,
    )

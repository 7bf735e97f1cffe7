"""All SQL of the catalog."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Select, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.resources import Actor, ReferenceAssets, Script, Token, Word
from services.catalog.rules import check_script_fits
from services.catalog.tables import actor_aliases, actors, scripts, token_actors, tokens, words
from services.runtime.database import Database
from services.runtime.errors import ActorNotFound, AlreadyExists, ScriptNotFound, TokenNotFound


class CatalogStore:
    """Reads and writes actors, tokens and scripts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_actor(self, actor: Actor) -> Actor:
        """Store an actor. Errors: AlreadyExists when the name is taken."""
        try:
            async with self._database.transaction() as connection:
                statement = insert(actors).values(name=actor.name)
                row = await _insert(
                    connection, statement.returning(actors.c.id, actors.c.create_time)
                )
                aliases = [
                    {"actor_id": row.id, "position": position, "alias": alias}
                    for position, alias in enumerate(actor.aliases)
                ]
                await _insert_all(connection, actor_aliases, aliases)
        except IntegrityError as error:
            raise AlreadyExists(resource="actor", field="name") from error
        return replace(actor, id=row.id, create_time=row.create_time)

    async def get_actor(self, actor_id: int) -> Actor:
        """Read an actor. Errors: ActorNotFound."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_by_id(actors, actor_id))).one_or_none()
            if row is None:
                raise ActorNotFound(actor_id=actor_id)
            aliases = await connection.scalars(
                select(actor_aliases.c.alias)
                .where(actor_aliases.c.actor_id == actor_id)
                .order_by(actor_aliases.c.position)
            )
            return Actor(row.name, tuple(aliases), row.id, row.create_time)

    async def create_token(self, token: Token) -> Token:
        """Store a token. Errors: ActorNotFound when one of its actors does not exist."""
        async with self._database.transaction() as connection:
            await _require_actors(connection, token.actor_ids)
            assets = token.reference_assets
            statement = insert(tokens).values(
                name=token.name,
                category=token.category,
                source_url=token.source_url,
                start_time=token.start_time,
                end_time=token.end_time,
                voice_key=assets.voice,
                pitch_key=assets.pitch,
                alignment_key=assets.alignment,
                background_key=assets.background,
            )
            row = await _insert(connection, statement.returning(tokens.c.id, tokens.c.create_time))
            casting = [
                {"token_id": row.id, "position": position, "actor_id": actor_id}
                for position, actor_id in enumerate(token.actor_ids)
            ]
            await _insert_all(connection, token_actors, casting)
        return replace(token, id=row.id, create_time=row.create_time)

    async def get_token(self, token_id: int, *, with_scripts: bool) -> Token:
        """Read a token. Errors: TokenNotFound."""
        async with self._database.transaction() as connection:
            token = await _read_token(connection, token_id)
            if not with_scripts:
                return token
            statement = (
                select(scripts)
                .where(scripts.c.token_id == token_id)
                .order_by(scripts.c.start_time, scripts.c.id)
            )
            return replace(token, scripts=await _read_scripts(connection, statement))

    async def create_script(self, script: Script) -> Script:
        """Store a script with its words.

        Errors: TokenNotFound, InvalidField when it does not fit into the clip.
        """
        async with self._database.transaction() as connection:
            check_script_fits(script, await _read_token(connection, script.token_id))
            statement = insert(scripts).values(
                token_id=script.token_id,
                text=script.text,
                translation=script.translation,
                language_code=script.language_code,
                start_time=script.start_time,
                end_time=script.end_time,
            )
            row = await _insert(
                connection, statement.returning(scripts.c.id, scripts.c.create_time)
            )
            spoken = [
                {
                    "script_id": row.id,
                    "position": position,
                    "text": word.text,
                    "start_time": word.start_time,
                    "end_time": word.end_time,
                }
                for position, word in enumerate(script.words)
            ]
            await _insert_all(connection, words, spoken)
            await connection.execute(
                update(tokens)
                .where(tokens.c.id == script.token_id)
                .values(revision=tokens.c.revision + 1)
            )
        return replace(script, id=row.id, create_time=row.create_time)

    async def get_script(self, script_id: int) -> Script:
        """Read a script with its words. Errors: ScriptNotFound."""
        async with self._database.transaction() as connection:
            found = await _read_scripts(connection, _by_id(scripts, script_id))
            if not found:
                raise ScriptNotFound(script_id=script_id)
            return found[0]


def _by_id(table: Table, value: int) -> Select[Any]:
    return select(table).where(table.c.id == value)


async def _insert(connection: AsyncConnection, statement: Any) -> Row[Any]:
    return (await connection.execute(statement)).one()


async def _insert_all(
    connection: AsyncConnection, table: Table, rows: list[dict[str, object]]
) -> None:
    if rows:
        await connection.execute(insert(table), rows)


async def _require_actors(connection: AsyncConnection, actor_ids: Iterable[int]) -> None:
    wanted = set(actor_ids)
    found = await connection.scalars(
        # Locked, so that none is deleted before the token names it.
        select(actors.c.id).where(actors.c.id.in_(wanted)).with_for_update(key_share=True)
    )
    if missing := wanted - set(found):
        raise ActorNotFound(actor_id=min(missing))


async def _read_token(connection: AsyncConnection, token_id: int) -> Token:
    row = (await connection.execute(_by_id(tokens, token_id))).one_or_none()
    if row is None:
        raise TokenNotFound(token_id=token_id)
    actor_ids = await connection.scalars(
        select(token_actors.c.actor_id)
        .where(token_actors.c.token_id == token_id)
        .order_by(token_actors.c.position)
    )
    return Token(
        name=row.name,
        actor_ids=tuple(actor_ids),
        category=row.category,
        source_url=row.source_url,
        start_time=row.start_time,
        end_time=row.end_time,
        reference_assets=ReferenceAssets(
            row.voice_key, row.pitch_key, row.alignment_key, row.background_key
        ),
        view_count=row.view_count,
        revision=row.revision,
        id=row.id,
        create_time=row.create_time,
    )


async def _read_scripts(connection: AsyncConnection, statement: Select[Any]) -> tuple[Script, ...]:
    rows = (await connection.execute(statement)).all()
    spoken = await connection.execute(
        select(words)
        .where(words.c.script_id.in_([row.id for row in rows]))
        .order_by(words.c.script_id, words.c.position)
    )
    words_of: dict[int, list[Word]] = defaultdict(list)
    for word in spoken:
        words_of[word.script_id].append(Word(word.text, word.start_time, word.end_time))
    return tuple(
        Script(
            token_id=row.token_id,
            text=row.text,
            translation=row.translation,
            language_code=row.language_code,
            start_time=row.start_time,
            end_time=row.end_time,
            words=tuple(words_of[row.id]),
            id=row.id,
            create_time=row.create_time,
        )
        for row in rows
    )

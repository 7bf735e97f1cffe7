"""Scripts and their words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.errors import ScriptNotFound, id_list
from services.catalog.models import Script, Word
from services.catalog.store.idempotency import (
    CreateOptions,
    check_etag,
    find_created,
    record_created,
    write_transaction,
)
from services.catalog.store.rows import lock_token
from services.catalog.tables import scripts, tokens, words
from services.catalog.validation import check_same_token, check_script_fits
from services.runtime.database import Database, retried_on_schema_change


@retried_on_schema_change
class ScriptStore:
    """Reads and writes scripts. Every write increments the revision of the token."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        script: Script,
        options: CreateOptions = CreateOptions(),  # noqa: B008
    ) -> Script:
        """Insert a script with its words.

        Errors: TokenNotFound, InvalidField if it does not fit into the clip.
        """
        async with write_transaction(
            self._database, validate_only=options.validate_only
        ) as connection:
            script_id = await find_created(connection, options)
            if script_id is None:
                check_script_fits(script, await lock_token(connection, script.token_id))
                statement = insert(scripts).values(token_id=script.token_id, **_values(script))
                script_id = (await connection.scalars(statement.returning(scripts.c.id))).one()
                await _write_words(connection, script_id, script.words)
                await _increment_revision(connection, script.token_id)
                await record_created(connection, options, script_id)
            created = await _read(connection, script_id)
            return replace(created, id=None) if options.validate_only else created

    async def get(self, script_id: int) -> Script:
        """Read a script with its words. Errors: ScriptNotFound."""
        async with self._database.transaction() as connection:
            return await _read(connection, script_id)

    async def get_many(self, script_ids: Sequence[int]) -> list[Script]:
        """Read scripts in the order of the ids. Errors: ScriptNotFound, with the missing ids."""
        statement = select(scripts).where(scripts.c.id.in_(script_ids))
        async with self._database.transaction() as connection:
            found = {script.id: script for script in await read_scripts(connection, statement)}
        if missing := [each for each in script_ids if each not in found]:
            raise ScriptNotFound(script_id=id_list(missing))
        return [found[each] for each in script_ids]

    async def page(self, size: int, after_id: int) -> list[Script]:
        """At most `size` scripts whose ids are greater than `after_id`, in order."""
        statement = (
            select(scripts).where(scripts.c.id > after_id).order_by(scripts.c.id).limit(size)
        )
        async with self._database.transaction() as connection:
            return list(await read_scripts(connection, statement))

    async def page_of_token(
        self, token_id: int, size: int, after: tuple[float, int]
    ) -> list[Script]:
        """At most `size` scripts of a token after a start time and id, in the order of both."""
        position = tuple_(scripts.c.start_time, scripts.c.id)
        statement = scripts_of(token_id).where(position > after).limit(size)
        async with self._database.transaction() as connection:
            return list(await read_scripts(connection, statement))

    async def update(
        self,
        script_id: int,
        etag: str,
        change: Callable[[Script], Script],
        *,
        validate_only: bool = False,
    ) -> Script:
        """Store the script that `change` returns for the current one.

        Errors: ScriptNotFound, EtagMismatch, InvalidField if it does not fit into the clip or
        moves to another token.
        """
        async with write_transaction(self._database, validate_only=validate_only) as connection:
            before = await _read(connection, script_id)
            token = await lock_token(connection, before.token_id)
            # The script may have changed while this waited for the lock.
            before = await _read(connection, script_id)
            check_etag(before, etag)
            after = change(before)
            if after == before:
                return before
            check_same_token(before, after)
            check_script_fits(after, token)
            await connection.execute(
                update(scripts)
                .where(scripts.c.id == script_id)
                .values(
                    **_values(after),
                    version=scripts.c.version + 1,
                    update_time=func.clock_timestamp(),
                )
            )
            if after.words != before.words:
                await connection.execute(delete(words).where(words.c.script_id == script_id))
                await _write_words(connection, script_id, after.words)
            await _increment_revision(connection, before.token_id)
            return await _read(connection, script_id)

    async def delete(self, script_id: int, etag: str, *, validate_only: bool = False) -> None:
        """Delete a script with its words. Errors: ScriptNotFound, EtagMismatch."""
        async with write_transaction(self._database, validate_only=validate_only) as connection:
            script = await _read(connection, script_id)
            await lock_token(connection, script.token_id)
            check_etag(await _read(connection, script_id), etag)
            await connection.execute(delete(scripts).where(scripts.c.id == script_id))
            await _increment_revision(connection, script.token_id)


def scripts_of(token_id: int) -> Select[Any]:
    """The statement that selects the scripts of a token in the order of their start."""
    return (
        select(scripts)
        .where(scripts.c.token_id == token_id)
        .order_by(scripts.c.start_time, scripts.c.id)
    )


async def read_scripts(connection: AsyncConnection, statement: Select[Any]) -> tuple[Script, ...]:
    """The scripts that a statement selects, and their words by a second statement."""
    rows = (await connection.execute(statement)).all()
    word_rows = await connection.execute(
        select(words)
        .where(words.c.script_id.in_([row.id for row in rows]))
        .order_by(words.c.script_id, words.c.position)
    )
    words_of: dict[int, list[Word]] = defaultdict(list)
    for word in word_rows:
        words_of[word.script_id].append(
            Word(word.text, word.start_time, word.end_time, word.probability)
        )
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
            update_time=row.update_time,
            version=row.version,
        )
        for row in rows
    )


def _values(script: Script) -> dict[str, object]:
    return {
        "text": script.text,
        "translation": script.translation,
        "language_code": script.language_code,
        "start_time": script.start_time,
        "end_time": script.end_time,
    }


async def _read(connection: AsyncConnection, script_id: int) -> Script:
    found = await read_scripts(connection, select(scripts).where(scripts.c.id == script_id))
    if not found:
        raise ScriptNotFound(script_id=script_id)
    return found[0]


async def _write_words(
    connection: AsyncConnection, script_id: int, script_words: Sequence[Word]
) -> None:
    rows = [
        {
            "script_id": script_id,
            "position": position,
            "text": word.text,
            "start_time": word.start_time,
            "end_time": word.end_time,
            "probability": word.probability,
        }
        for position, word in enumerate(script_words)
    ]
    if rows:
        await connection.execute(insert(words), rows)


async def _increment_revision(connection: AsyncConnection, token_id: int) -> None:
    await connection.execute(
        update(tokens).where(tokens.c.id == token_id).values(revision=tokens.c.revision + 1)
    )

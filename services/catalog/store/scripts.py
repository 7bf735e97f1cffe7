"""Scripts and their words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import ARRAY, Integer, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.errors import ScriptNotFound, id_list
from services.catalog.models import Script, Word
from services.catalog.slices import map_in_slices
from services.catalog.store.idempotency import (
    CreateOptions,
    check_etag,
    find_created,
    record_created,
    write_transaction,
)
from services.catalog.store.rows import lock_token, script_columns, script_of
from services.catalog.tables import scripts, tokens, words
from services.catalog.validation import check_same_token, check_script_fits
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.statements import Statement

_SELECT = select(*script_columns())
_SCRIPT = Statement(_SELECT.where(scripts.c.id == bindparam("id")))
_SCRIPTS = Statement(
    _SELECT.where(scripts.c.id == func.any(bindparam("ids", type_=ARRAY(Integer))))
)
_PAGE = Statement(
    _SELECT.where(scripts.c.id > bindparam("after_id"))
    .order_by(scripts.c.id)
    .limit(bindparam("size"))
)
_PAGE_OF_TOKEN = Statement(
    _SELECT.where(
        scripts.c.token_id == bindparam("token_id"),
        tuple_(scripts.c.start_time, scripts.c.id)
        > tuple_(bindparam("after_start"), bindparam("after_id")),
    )
    .order_by(scripts.c.start_time, scripts.c.id)
    .limit(bindparam("size"))
)


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
        found = await self._read(_SCRIPT, id=script_id)
        if not found:
            raise ScriptNotFound(script_id=script_id)
        return found[0]

    async def get_many(self, script_ids: Sequence[int]) -> list[Script]:
        """Read scripts in the order of the ids. Errors: ScriptNotFound, with the missing ids."""
        found = {script.id: script for script in await self._read(_SCRIPTS, ids=list(script_ids))}
        if missing := [each for each in script_ids if each not in found]:
            raise ScriptNotFound(script_id=id_list(missing))
        return [found[each] for each in script_ids]

    async def page(self, size: int, after_id: int) -> list[Script]:
        """At most `size` scripts whose ids are greater than `after_id`, in order."""
        return await self._read(_PAGE, size=size, after_id=after_id)

    async def page_of_token(
        self, token_id: int, size: int, after: tuple[float, int]
    ) -> list[Script]:
        """At most `size` scripts of a token after a start time and id, in the order of both."""
        after_start, after_id = after
        return await self._read(
            _PAGE_OF_TOKEN,
            token_id=token_id,
            size=size,
            after_start=after_start,
            after_id=after_id,
        )

    async def _read(self, statement: Statement, **parameters: object) -> list[Script]:
        async with self._database.connection() as connection:
            rows = await statement.rows(connection, **parameters)
        return await map_in_slices(script_of, rows)

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


def _values(script: Script) -> dict[str, object]:
    return {
        "text": script.text,
        "translation": script.translation,
        "language_code": script.language_code,
        "start_time": script.start_time,
        "end_time": script.end_time,
    }


async def _read(connection: AsyncConnection, script_id: int) -> Script:
    row = (await connection.execute(_SELECT.where(scripts.c.id == script_id))).one_or_none()
    if row is None:
        raise ScriptNotFound(script_id=script_id)
    return script_of(row)


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

"""Imports: many resources at once, by COPY and arrays through asyncpg.

One import writes at a time, each batch under a lock of its own, so that what has no
unique key in the database is not created twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
from sqlalchemy import text

from services.catalog.import_records import ActorRecord, Record, ScriptRecord, TokenKey, TokenRecord
from services.catalog.models import ReferenceAssets, Script, Token, Word
from services.catalog.store import import_statements as statements
from services.catalog.validation import check_clip_holds, check_script_fits
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable, InvalidField

Connection = Any
"""An asyncpg connection; the package has no types."""

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.DeadlockDetectedError,
    asyncpg.OperatorInterventionError,
)


@dataclass
class Outcome:
    """What a batch came to; what was refused by line, with the reason."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


class Imports:
    """Writes batches of records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, records: Sequence[Record]) -> Outcome:
        """Create or update what the records say, in one transaction.

        No two records may have the same key. What names something that is not there,
        or does not fit to it, is refused and left out.
        """
        outcome = Outcome()
        if not records:
            return outcome
        try:
            async with self._importing() as connection:
                await _write_actors(connection, _of(ActorRecord, records), outcome)
                await _write_tokens(connection, _of(TokenRecord, records), outcome)
                await _write_scripts(connection, _of(ScriptRecord, records), outcome)
        except asyncpg.IntegrityConstraintViolationError as error:
            return await self._write_parted(records, error)
        return outcome

    async def _write_parted(
        self, records: Sequence[Record], error: asyncpg.IntegrityConstraintViolationError
    ) -> Outcome:
        """Part a batch that the database refuses, until it is known which line it means."""
        if len(records) == 1:
            return Outcome(refused=[(records[0].line, f"breaks {error.constraint_name}")])
        middle = len(records) // 2
        first, second = await self.write(records[:middle]), await self.write(records[middle:])
        return Outcome(
            first.created + second.created,
            first.updated + second.updated,
            first.unchanged + second.unchanged,
            first.refused + second.refused,
        )

    @asynccontextmanager
    async def _importing(self) -> AsyncIterator[Connection]:
        async with self._database.transaction() as connection:
            # Also makes SQLAlchemy begin the transaction, before asyncpg is used.
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtext('catalog import'))")
            )
            raw = await connection.get_raw_connection()
            try:
                yield raw.driver_connection
            except _UNAVAILABLE as error:
                raise DatabaseUnavailable from error


def _of(kind: type[Any], records: Iterable[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


async def _new_ids(connection: Connection, table: str, count: int) -> list[int]:
    rows = await connection.fetch(
        "SELECT nextval(pg_get_serial_sequence($1, 'id'))::integer AS id"
        " FROM generate_series(1, $2)",
        f"catalog.{table}",
        count,
    )
    return [row["id"] for row in rows]


async def _copy(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    if rows:
        await connection.copy_records_to_table(
            table, schema_name="catalog", columns=columns, records=rows
        )


async def _write_actors(
    connection: Connection, records: Sequence[ActorRecord], outcome: Outcome
) -> None:
    if not records:
        return
    rows = await connection.fetch(
        statements.KNOWN_ACTORS, [record.actor.name for record in records]
    )
    known = {row["name"]: row for row in rows}
    changed = [
        record.actor
        for record in records
        if record.actor.name not in known
        or tuple(known[record.actor.name]["aliases"]) != record.actor.aliases
    ]
    # Somebody may have created one in the meantime: then it is updated.
    rows = await connection.fetch(statements.PUT_ACTORS, [actor.name for actor in changed])
    ids = {row["name"]: row["id"] for row in rows}
    await connection.execute(
        "DELETE FROM catalog.actor_aliases WHERE actor_id = ANY($1)", list(ids.values())
    )
    aliases = [
        (ids[actor.name], position, alias)
        for actor in changed
        for position, alias in enumerate(actor.aliases)
    ]
    await _copy(connection, "actor_aliases", ("actor_id", "position", "alias"), aliases)
    outcome.updated += sum(actor.name in known for actor in changed)
    outcome.created += sum(actor.name not in known for actor in changed)
    outcome.unchanged += len(records) - len(changed)


async def _write_tokens(
    connection: Connection, records: Sequence[TokenRecord], outcome: Outcome
) -> None:
    if not records:
        return
    names = sorted({name for record in records for name in record.actor_names})
    rows = await connection.fetch(statements.ACTOR_IDS, names)
    actor_ids = {row["name"]: row["id"] for row in rows}
    known = await _known_tokens(connection, [record.key for record in records])
    ends = await _last_ends(connection, known.values())
    created: list[Token] = []
    updated: list[tuple[Token, Token]] = []
    for record in records:
        before = known.get(record.key)
        try:
            token = _cast(record, actor_ids)
            if before is None:
                created.append(token)
                continue
            check_clip_holds(token, ends.get(before.id or 0, 0.0))
        except (ValueError, InvalidField) as error:
            outcome.refused.append((record.line, str(error)))
            continue
        if _settable(token) == _settable(before):
            outcome.unchanged += 1
        else:
            updated.append((before, token))
    await _create_tokens(connection, created)
    await _update_tokens(connection, updated)
    outcome.created += len(created)
    outcome.updated += len(updated)


def _cast(record: TokenRecord, actor_ids: dict[str, int]) -> Token:
    missing = [name for name in record.actor_names if name not in actor_ids]
    if missing:
        raise ValueError(f"token.actors: there is no actor {missing[0]!r}")
    return replace(record.token, actor_ids=tuple(actor_ids[name] for name in record.actor_names))


def _settable(token: Token) -> tuple[object, ...]:
    return (*_columns(token), token.actor_ids)


def _columns(token: Token) -> tuple[object, ...]:
    """The values of statements.TOKEN_COLUMNS."""
    assets = token.reference_assets
    return (
        token.name,
        token.category,
        token.source_url,
        token.start_time,
        token.end_time,
        token.thumbnail_url,
        assets.voice,
        assets.pitch,
        assets.alignment,
        assets.background,
    )


async def _known_tokens(connection: Connection, keys: Sequence[TokenKey]) -> dict[TokenKey, Token]:
    """Those of the tokens that there are, locked; the oldest where several have one key."""
    rows = await connection.fetch(
        statements.TOKEN_IDS,
        [key.name for key in keys],
        [key.source_url for key in keys],
        [key.start_time for key in keys],
    )
    known: dict[TokenKey, Token] = {}
    for row in await connection.fetch(statements.TOKENS, [row["id"] for row in rows]):
        token = Token(
            name=row["name"],
            actor_ids=tuple(row["actor_ids"]),
            category=row["category"],
            source_url=row["source_url"],
            start_time=row["start_time"],
            end_time=row["end_time"],
            thumbnail_url=row["thumbnail_url"],
            reference_assets=ReferenceAssets(
                row["voice_key"], row["pitch_key"], row["alignment_key"], row["background_key"]
            ),
            id=row["id"],
        )
        known.setdefault(TokenKey(token.name, token.source_url, token.start_time), token)
    return known


async def _last_ends(connection: Connection, tokens: Iterable[Token]) -> dict[int, float]:
    rows = await connection.fetch(
        "SELECT token_id, max(end_time) AS last_end FROM catalog.scripts"
        " WHERE token_id = ANY($1) GROUP BY token_id",
        [token.id for token in tokens],
    )
    return {row["token_id"]: row["last_end"] for row in rows}


async def _create_tokens(connection: Connection, tokens: Sequence[Token]) -> None:
    ids = await _new_ids(connection, "tokens", len(tokens))
    rows = [(each, *_columns(token)) for each, token in zip(ids, tokens, strict=True)]
    await _copy(connection, "tokens", ("id", *statements.TOKEN_COLUMNS), rows)
    await _write_casts(connection, zip(ids, tokens, strict=True))


async def _update_tokens(connection: Connection, updated: Sequence[tuple[Token, Token]]) -> None:
    if not updated:
        return
    await connection.executemany(
        statements.UPDATE_TOKEN,
        [
            (before.id, int(after.compared != before.compared), *_columns(after))
            for before, after in updated
        ],
    )
    ids = [before.id for before, _ in updated]
    await connection.execute("DELETE FROM catalog.token_actors WHERE token_id = ANY($1)", ids)
    await _write_casts(connection, ((before.id or 0, after) for before, after in updated))


async def _write_casts(connection: Connection, tokens: Iterable[tuple[int, Token]]) -> None:
    rows = [
        (token_id, position, actor_id)
        for token_id, token in tokens
        for position, actor_id in enumerate(token.actor_ids)
    ]
    await _copy(connection, "token_actors", ("token_id", "position", "actor_id"), rows)


async def _write_scripts(
    connection: Connection, records: Sequence[ScriptRecord], outcome: Outcome
) -> None:
    if not records:
        return
    tokens = await _known_tokens(connection, list({record.token_key for record in records}))
    wanted: list[Script] = []
    for record in records:
        token = tokens.get(record.token_key)
        try:
            if token is None:
                raise ValueError(f"script.token: there is no token {record.token_key.name!r}")
            check_script_fits(record.script, token)
            wanted.append(replace(record.script, token_id=token.id or 0))
        except (ValueError, InvalidField) as error:
            outcome.refused.append((record.line, str(error)))
    known = await _known_scripts(connection, wanted)
    created = [script for script in wanted if _script_key(script) not in known]
    updated = [
        replace(script, id=known[_script_key(script)].id)
        for script in wanted
        if _script_key(script) in known
        and replace(script, id=known[_script_key(script)].id) != known[_script_key(script)]
    ]
    await _create_scripts(connection, created)
    await _update_scripts(connection, updated)
    await connection.execute(
        "UPDATE catalog.tokens SET revision = revision + 1 WHERE id = ANY($1)",
        list({script.token_id for script in (*created, *updated)}),
    )
    outcome.created += len(created)
    outcome.updated += len(updated)
    outcome.unchanged += len(wanted) - len(created) - len(updated)


def _script_key(script: Script) -> tuple[int, float, str]:
    return script.token_id, script.start_time, script.text


async def _known_scripts(
    connection: Connection, scripts: Sequence[Script]
) -> dict[tuple[int, float, str], Script]:
    rows = await connection.fetch(
        statements.SCRIPTS,
        [script.token_id for script in scripts],
        [script.start_time for script in scripts],
        [script.text for script in scripts],
    )
    words: dict[int, list[Word]] = defaultdict(list)
    for row in await connection.fetch(statements.WORDS, [row["id"] for row in rows]):
        words[row["script_id"]].append(
            Word(row["text"], row["start_time"], row["end_time"], row["probability"])
        )
    known: dict[tuple[int, float, str], Script] = {}
    for row in rows:
        script = Script(
            token_id=row["token_id"],
            text=row["text"],
            translation=row["translation"],
            language_code=row["language_code"],
            start_time=row["start_time"],
            end_time=row["end_time"],
            words=tuple(words[row["id"]]),
            id=row["id"],
        )
        known.setdefault(_script_key(script), script)
    return known


async def _create_scripts(connection: Connection, scripts: Sequence[Script]) -> None:
    ids = await _new_ids(connection, "scripts", len(scripts))
    rows = [
        (
            each,
            script.token_id,
            script.text,
            script.translation,
            script.language_code,
            script.start_time,
            script.end_time,
        )
        for each, script in zip(ids, scripts, strict=True)
    ]
    await _copy(connection, "scripts", statements.SCRIPT_COLUMNS, rows)
    await _write_words(connection, zip(ids, scripts, strict=True))


async def _update_scripts(connection: Connection, scripts: Sequence[Script]) -> None:
    if not scripts:
        return
    await connection.executemany(
        statements.UPDATE_SCRIPT,
        [
            (script.id, script.translation, script.language_code, script.end_time)
            for script in scripts
        ],
    )
    ids = [script.id for script in scripts]
    await connection.execute("DELETE FROM catalog.words WHERE script_id = ANY($1)", ids)
    await _write_words(connection, ((script.id or 0, script) for script in scripts))


async def _write_words(connection: Connection, scripts: Iterable[tuple[int, Script]]) -> None:
    rows = [
        (script_id, position, word.text, word.start_time, word.end_time, word.probability)
        for script_id, script in scripts
        for position, word in enumerate(script.words)
    ]
    columns = ("script_id", "position", "text", "start_time", "end_time", "probability")
    await _copy(connection, "words", columns, rows)

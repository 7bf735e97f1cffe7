"""Imports: writes batches of resources with COPY and array parameters, through asyncpg.

An advisory lock serialises the batches of all imports, because the database has no unique
constraint that would prevent two imports from creating the same token or script.
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
from services.catalog.validation import check_clip_covers, check_script_fits
from services.runtime.database import Database, retried_on_schema_change
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
    """The outcome of a batch.

    refused: the numbers of the refused lines, each with the reason.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


@retried_on_schema_change
class Imports:
    """Writes batches of records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, records: Sequence[Record]) -> Outcome:
        """Create or update the resources of the records, in one transaction.

        The keys of the records must differ. A record is refused and skipped if it refers to a
        missing actor or token, or does not fit into its clip.
        """
        outcome = Outcome()
        if not records:
            return outcome
        try:
            async with self._import_transaction() as connection:
                await _write_actors(connection, _of_type(ActorRecord, records), outcome)
                await _write_tokens(connection, _of_type(TokenRecord, records), outcome)
                await _write_scripts(connection, _of_type(ScriptRecord, records), outcome)
        except asyncpg.IntegrityConstraintViolationError as error:
            return await self._write_halves(records, error)
        return outcome

    async def _write_halves(
        self, records: Sequence[Record], error: asyncpg.IntegrityConstraintViolationError
    ) -> Outcome:
        """Halve a batch that violates a constraint until the refused line is found."""
        if len(records) == 1:
            return Outcome(refused=[(records[0].line, f"violates {error.constraint_name}")])
        middle = len(records) // 2
        first, second = await self.write(records[:middle]), await self.write(records[middle:])
        return Outcome(
            first.created + second.created,
            first.updated + second.updated,
            first.unchanged + second.unchanged,
            first.refused + second.refused,
        )

    @asynccontextmanager
    async def _import_transaction(self) -> AsyncIterator[Connection]:
        async with self._database.transaction() as connection:
            # This also makes SQLAlchemy send BEGIN, before asyncpg is used directly.
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtext('catalog import'))")
            )
            raw = await connection.get_raw_connection()
            try:
                yield raw.driver_connection
            except _UNAVAILABLE as error:
                raise DatabaseUnavailable from error


def _of_type(record_type: type[Any], records: Iterable[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, record_type)]


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
        statements.EXISTING_ACTORS, [record.actor.name for record in records]
    )
    existing = {row["name"]: row for row in rows}
    changed = [
        record.actor
        for record in records
        if record.actor.name not in existing
        or tuple(existing[record.actor.name]["aliases"]) != record.actor.aliases
    ]
    # CreateActor takes no import lock: an actor created in the meantime is updated.
    rows = await connection.fetch(statements.UPSERT_ACTORS, [actor.name for actor in changed])
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
    outcome.updated += sum(actor.name in existing for actor in changed)
    outcome.created += sum(actor.name not in existing for actor in changed)
    outcome.unchanged += len(records) - len(changed)


async def _write_tokens(
    connection: Connection, records: Sequence[TokenRecord], outcome: Outcome
) -> None:
    if not records:
        return
    names = sorted({name for record in records for name in record.actor_names})
    rows = await connection.fetch(statements.ACTOR_IDS, names)
    actor_ids = {row["name"]: row["id"] for row in rows}
    existing = await _existing_tokens(connection, [record.key for record in records])
    script_ends = await _last_script_ends(connection, existing.values())
    created: list[Token] = []
    updated: list[tuple[Token, Token]] = []
    for record in records:
        before = existing.get(record.key)
        try:
            token = _with_actor_ids(record, actor_ids)
            if before is None:
                created.append(token)
                continue
            check_clip_covers(token, script_ends.get(before.id or 0, 0.0))
        except (ValueError, InvalidField) as error:
            outcome.refused.append((record.line, str(error)))
            continue
        if _imported_fields(token) == _imported_fields(before):
            outcome.unchanged += 1
        else:
            updated.append((before, token))
    await _create_tokens(connection, created)
    await _update_tokens(connection, updated)
    outcome.created += len(created)
    outcome.updated += len(updated)


def _with_actor_ids(record: TokenRecord, actor_ids: dict[str, int]) -> Token:
    missing = [name for name in record.actor_names if name not in actor_ids]
    if missing:
        raise ValueError(f"token.actors: actor {missing[0]!r} does not exist")
    return replace(record.token, actor_ids=tuple(actor_ids[name] for name in record.actor_names))


def _imported_fields(token: Token) -> tuple[object, ...]:
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


async def _existing_tokens(
    connection: Connection, keys: Sequence[TokenKey]
) -> dict[TokenKey, Token]:
    """The existing tokens among the keys, locked. If several have one key, the oldest."""
    rows = await connection.fetch(
        statements.TOKEN_IDS,
        [key.name for key in keys],
        [key.source_url for key in keys],
        [key.start_time for key in keys],
    )
    existing: dict[TokenKey, Token] = {}
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
        existing.setdefault(TokenKey(token.name, token.source_url, token.start_time), token)
    return existing


async def _last_script_ends(connection: Connection, tokens: Iterable[Token]) -> dict[int, float]:
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
    await _write_token_actors(connection, zip(ids, tokens, strict=True))


async def _update_tokens(connection: Connection, updated: Sequence[tuple[Token, Token]]) -> None:
    if not updated:
        return
    await connection.executemany(
        statements.UPDATE_TOKEN,
        [
            (before.id, int(after.analysis_inputs != before.analysis_inputs), *_columns(after))
            for before, after in updated
        ],
    )
    ids = [before.id for before, _ in updated]
    await connection.execute("DELETE FROM catalog.token_actors WHERE token_id = ANY($1)", ids)
    await _write_token_actors(connection, ((before.id or 0, after) for before, after in updated))


async def _write_token_actors(connection: Connection, tokens: Iterable[tuple[int, Token]]) -> None:
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
    tokens = await _existing_tokens(connection, list({record.token_key for record in records}))
    accepted: list[Script] = []
    for record in records:
        token = tokens.get(record.token_key)
        try:
            if token is None:
                raise ValueError(f"script.token: token {record.token_key.name!r} does not exist")
            check_script_fits(record.script, token)
            accepted.append(replace(record.script, token_id=token.id or 0))
        except (ValueError, InvalidField) as error:
            outcome.refused.append((record.line, str(error)))
    existing = await _existing_scripts(connection, accepted)
    created = [script for script in accepted if _script_key(script) not in existing]
    with_ids = [
        replace(script, id=existing[_script_key(script)].id)
        for script in accepted
        if _script_key(script) in existing
    ]
    updated = [script for script in with_ids if script != existing[_script_key(script)]]
    await _create_scripts(connection, created)
    await _update_scripts(connection, updated)
    await connection.execute(
        "UPDATE catalog.tokens SET revision = revision + 1 WHERE id = ANY($1)",
        list({script.token_id for script in (*created, *updated)}),
    )
    outcome.created += len(created)
    outcome.updated += len(updated)
    outcome.unchanged += len(accepted) - len(created) - len(updated)


def _script_key(script: Script) -> tuple[int, float, str]:
    return script.token_id, script.start_time, script.text


async def _existing_scripts(
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
    existing: dict[tuple[int, float, str], Script] = {}
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
        existing.setdefault(_script_key(script), script)
    return existing


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

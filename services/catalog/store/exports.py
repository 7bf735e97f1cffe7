"""Exports all resources as lines of JSON, in the format that imports read."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from sqlalchemy import text

from services.runtime.database import Database

PAGE_SIZE = 1_000
IDLE_SECONDS = 60
"""An export ends if its client reads nothing for this long: the snapshot it holds is costly."""


class Exports:
    """Reads all resources of the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """The lines of all resources in one snapshot, in chunks of at most PAGE_SIZE lines."""
        async with self._database.transaction() as connection:
            await connection.execute(
                text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            )
            await connection.execute(
                text(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
            )
            for statement in _EXPORTS:
                last_id = 0
                while True:
                    parameters = {"last_id": last_id, "size": PAGE_SIZE}
                    rows = (await connection.execute(text(statement), parameters)).all()
                    if not rows:
                        break
                    last_id = rows[-1].id
                    yield "".join(f"{row.line}\n" for row in rows).encode()


_ACTOR_LINES = """
SELECT id, json_build_object('actor', json_build_object(
    'name', name,
    'aliases', ARRAY(
        SELECT alias FROM catalog.actor_aliases WHERE actor_id = actors.id ORDER BY position
    )
))::text AS line
FROM catalog.actors WHERE id > :last_id ORDER BY id LIMIT :size
"""
_TOKEN_LINES = """
SELECT id, json_strip_nulls(json_build_object('token', json_build_object(
    'name', name,
    'actors', ARRAY(
        SELECT actor.name FROM catalog.token_actors
        JOIN catalog.actors AS actor ON actor.id = actor_id
        WHERE token_id = tokens.id ORDER BY position
    ),
    'category', category,
    'source_url', source_url,
    'start_time', start_time,
    'end_time', end_time,
    'thumbnail_url', thumbnail_url,
    'reference_assets', json_build_object(
        'voice', voice_key, 'pitch', pitch_key,
        'alignment', alignment_key, 'background', background_key
    )
)))::text AS line
FROM catalog.tokens WHERE id > :last_id ORDER BY id LIMIT :size
"""
_SCRIPT_LINES = """
SELECT script.id, json_strip_nulls(json_build_object('script', json_build_object(
    'token', json_build_object(
        'name', token.name, 'source_url', token.source_url, 'start_time', token.start_time
    ),
    'text', script.text,
    'translation', script.translation,
    'language_code', script.language_code,
    'start_time', script.start_time,
    'end_time', script.end_time,
    'words', coalesce((
        SELECT json_agg(json_build_object(
            'text', text, 'start_time', start_time, 'end_time', end_time,
            'probability', probability
        ) ORDER BY position)
        FROM catalog.words WHERE script_id = script.id
    ), '[]')
)))::text AS line
FROM catalog.scripts AS script JOIN catalog.tokens AS token ON token.id = script.token_id
WHERE script.id > :last_id ORDER BY script.id LIMIT :size
"""
_EXPORTS = (_ACTOR_LINES, _TOKEN_LINES, _SCRIPT_LINES)

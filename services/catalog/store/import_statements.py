"""The SQL statements of imports, with asyncpg's parameters."""

from __future__ import annotations

EXISTING_ACTORS = """
SELECT name, ARRAY(
    SELECT alias FROM catalog.actor_aliases WHERE actor_id = actors.id ORDER BY position
) AS aliases
FROM catalog.actors WHERE name = ANY($1) ORDER BY id FOR UPDATE
"""
UPSERT_ACTORS = """
INSERT INTO catalog.actors AS actor (name) SELECT unnest($1::text[])
ON CONFLICT (name) DO UPDATE SET version = actor.version + 1, update_time = clock_timestamp()
RETURNING id, name
"""
ACTOR_IDS = """
SELECT id, name FROM catalog.actors WHERE name = ANY($1) ORDER BY id FOR KEY SHARE
"""
TOKEN_COLUMNS = (
    "name",
    "category",
    "source_url",
    "start_time",
    "end_time",
    "thumbnail_url",
    "voice_key",
    "pitch_key",
    "alignment_key",
    "background_key",
)
TOKEN_IDS = """
SELECT token.id
FROM unnest($1::text[], $2::text[], $3::float8[]) AS key (name, source_url, start_time)
JOIN catalog.tokens AS token USING (name, source_url, start_time)
"""
TOKENS = """
SELECT *, ARRAY(
    SELECT actor_id FROM catalog.token_actors WHERE token_id = tokens.id ORDER BY position
) AS actor_ids
FROM catalog.tokens WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE
"""
UPDATE_TOKEN = f"""
UPDATE catalog.tokens
SET revision = revision + $2, version = version + 1, update_time = clock_timestamp(),
    ({", ".join(TOKEN_COLUMNS)}) = ($3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
WHERE id = $1
"""
SCRIPT_COLUMNS = (
    "id",
    "token_id",
    "text",
    "translation",
    "language_code",
    "start_time",
    "end_time",
)
SCRIPTS = """
SELECT script.*
FROM unnest($1::integer[], $2::float8[], $3::text[]) AS key (token_id, start_time, text)
JOIN catalog.scripts AS script USING (token_id, start_time, text)
ORDER BY script.id
"""
WORDS = "SELECT * FROM catalog.words WHERE script_id = ANY($1) ORDER BY script_id, position"
UPDATE_SCRIPT = """
UPDATE catalog.scripts
SET translation = $2, language_code = $3, end_time = $4, version = version + 1,
    update_time = clock_timestamp()
WHERE id = $1
"""

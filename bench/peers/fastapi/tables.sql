-- The tables of the peer, filled from the catalog of the stack.
DROP SCHEMA IF EXISTS peer CASCADE;
CREATE SCHEMA peer;

CREATE TABLE peer.tokens AS
SELECT
    token.id, token.name, token.category, token.source_url, token.start_time, token.end_time,
    token.voice_key, token.background_key, token.view_count, actor.name AS actor_name
FROM catalog.tokens AS token
LEFT JOIN catalog.token_actors AS link ON link.token_id = token.id AND link.position = 0
LEFT JOIN catalog.actors AS actor ON actor.id = link.actor_id;

CREATE TABLE peer.scripts AS
SELECT id, token_id, text, translation, start_time, end_time FROM catalog.scripts;

CREATE TABLE peer.words AS
SELECT
    row_number() OVER (ORDER BY script_id, position)::int AS id,
    script_id, text, start_time, end_time, probability
FROM catalog.words;

CREATE TABLE peer.results (
    job_id uuid PRIMARY KEY,
    token_id int NOT NULL,
    status text NOT NULL,
    progress int NOT NULL,
    message text NOT NULL,
    result jsonb,
    create_time timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE peer.tokens ADD PRIMARY KEY (id);
ALTER TABLE peer.scripts ADD PRIMARY KEY (id);
ALTER TABLE peer.words ADD PRIMARY KEY (id);
CREATE INDEX ON peer.scripts (token_id);
CREATE INDEX ON peer.words (script_id);
ANALYZE peer.tokens, peer.scripts, peer.words;

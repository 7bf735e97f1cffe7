-- Prepare a database for service after a restore, or after a long stop:
--   psql --set=ON_ERROR_STOP=1 --set=stopped='2026-01-31 10:00:00 UTC' --file=resume.sql "$DATABASE_URL"
-- stopped: the time of the last change in the data. Run it once, before the services start.
BEGIN;

-- Extend all deadlines by the time of the stop, so that no job or upload expires because of it.
UPDATE analysis.jobs
SET deadline = deadline + (now() - :'stopped'::timestamptz),
    due_time = due_time + (now() - :'stopped'::timestamptz)
WHERE due_time IS NOT NULL;

UPDATE upload.uploads
SET expire_time = expire_time + (now() - :'stopped'::timestamptz),
    due_time = due_time + (now() - :'stopped'::timestamptz);

-- A new server starts a new count of transactions, and watchers of tokens rely on these numbers.
UPDATE catalog.token_changes SET transaction_id = pg_current_xact_id();

COMMIT;

-- Prepare a database for the services after it was restored or after a long standstill:
--   psql --set=ON_ERROR_STOP=1 --set=stopped='2026-01-31 10:00:00 UTC' --file=resume.sql "$DATABASE_URL"
-- stopped: the time of the last change in the data. Run it once, before the services start.
BEGIN;

-- Deadlines move by the time in which no service ran.
UPDATE analysis.jobs
SET deadline = deadline + (now() - :'stopped'::timestamptz),
    due_time = due_time + (now() - :'stopped'::timestamptz)
WHERE due_time IS NOT NULL;

UPDATE upload.uploads
SET expire_time = expire_time + (now() - :'stopped'::timestamptz),
    due_time = due_time + (now() - :'stopped'::timestamptz);

-- A new server numbers its transactions from the start, and watchers of tokens order by them.
UPDATE catalog.token_changes SET transaction_id = pg_current_xact_id();

COMMIT;

-- Make a database that was restored, or that stood still for long, fit to go on:
--   psql --set=ON_ERROR_STOP=1 --set=stopped='2026-01-31 10:00:00 UTC' --file=resume.sql "$DATABASE_URL"
-- stopped: the moment that the data is of. Run it once, before the services start.
BEGIN;

-- The time in which nothing ran counts against no job and no upload.
UPDATE analysis.jobs
SET deadline = deadline + (now() - :'stopped'::timestamptz),
    due_time = due_time + (now() - :'stopped'::timestamptz)
WHERE due_time IS NOT NULL;

UPDATE upload.uploads
SET expire_time = expire_time + (now() - :'stopped'::timestamptz),
    due_time = due_time + (now() - :'stopped'::timestamptz);

-- A new server counts transactions anew: followers of tokens go by these numbers.
UPDATE catalog.token_changes SET transaction_id = pg_current_xact_id();

COMMIT;

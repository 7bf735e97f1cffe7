#!/usr/bin/env bash
# Back up the database of Sori into one file, while everything runs:
#   DATABASE_URL=postgresql://… deploy/scripts/backup.sh FILE
# The tools of PostgreSQL must be at least as new as the server. Copy the bucket afterwards, not
# before: what a row names is in the bucket before the row is written.
set -euo pipefail
file=${1:?Usage: DATABASE_URL=postgresql://... backup.sh FILE}
: "${DATABASE_URL:?Set it to the database.}"
# restore.sh reads from the file when it was made.
export TZ=UTC
# One snapshot of all schemas. What failed half-way is not taken for a back-up.
pg_dump --format=custom --no-owner --no-privileges --file="$file.part" "$DATABASE_URL"
pg_restore --list "$file.part" >/dev/null
mv "$file.part" "$file"
echo "Backed up into $file."

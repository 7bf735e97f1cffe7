#!/usr/bin/env bash
# Back up Sori's database into one file while the product runs:
#   DATABASE_URL=postgresql://… deploy/scripts/backup.sh FILE
# pg_dump and pg_restore must be at least as new as the server. Copy the bucket after this, not before:
# an object is in the bucket before its row refers to it.
set -euo pipefail
file=${1:?Usage: DATABASE_URL=postgresql://... backup.sh FILE}
: "${DATABASE_URL:?Set it to the database.}"
# restore.sh reads the time of the back-up from the file.
export TZ=UTC
# One snapshot of all schemas. The file gets its name only when it is complete.
pg_dump --format=custom --no-owner --no-privileges --file="$file.part" "$DATABASE_URL"
pg_restore --list "$file.part" >/dev/null
mv "$file.part" "$file"
echo "Backed up into $file."

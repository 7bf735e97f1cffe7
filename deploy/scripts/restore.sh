#!/usr/bin/env bash
# Restore a back-up of backup.sh into a database while no service uses it:
#   DATABASE_URL=postgresql://… deploy/scripts/restore.sh FILE
# Existing schemas are replaced if their tables are empty; FORCE=1 replaces them in any case.
set -euo pipefail
file=${1:?Usage: DATABASE_URL=postgresql://... restore.sh FILE}
: "${DATABASE_URL:?Set it to the database.}"
export TZ=UTC PGOPTIONS="-c client_min_messages=error"
here=$(cd "$(dirname "$0")" && pwd)
sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@" "$DATABASE_URL"; }

stopped=$(pg_restore --list "$file" | sed -n 's/^; Archive created at //p')
: "${stopped:?This is not a back-up: $file}"
for table in catalog.tokens upload.uploads analysis.jobs accounts.accounts; do
  [ -z "$(sql --command="SELECT to_regclass('$table')")" ] && continue
  if [ -n "$(sql --command="SELECT 1 FROM $table LIMIT 1")" ] && [ "${FORCE:-}" != 1 ]; then
    echo "$table is not empty. FORCE=1 deletes its content." >&2
    exit 1
  fi
done
sql --command="DROP SCHEMA IF EXISTS catalog, upload, analysis, accounts CASCADE"
# All or nothing.
pg_restore --exit-on-error --single-transaction --no-owner --no-privileges \
  --dbname="$DATABASE_URL" "$file"
sql --set=stopped="$stopped" --file="$here/resume.sql"
sql --command=ANALYZE
echo "Restored the state of $stopped."

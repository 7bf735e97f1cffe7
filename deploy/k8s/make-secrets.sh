#!/usr/bin/env bash
# Print the Secrets that the pods refer to, made of random keys and of what the environment
# says: deploy/k8s/make-secrets.sh | kubectl apply -f -
#
# For production set DATABASE_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Without them
# PostgreSQL and S3 of the overlay `local` are meant. Run it once: new keys lock the old out.
set -euo pipefail

random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# secret NAME KEY=VALUE... Values go by pipes: arguments can be seen by everybody.
secret() {
  local name=$1 files=() each
  shift
  for each in "$@"; do
    exec {pipe}< <(printf '%s' "${each#*=}")
    files+=(--from-file="${each%%=*}=/dev/fd/$pipe")
  done
  kubectl --namespace sori create secret generic "$name" "${files[@]}" --dry-run=client --output yaml
  echo "---"
}

password=$(random)
secret sori-database \
  url="${DATABASE_URL:-postgresql://sori:$password@postgres:5432/sori}" \
  password="$password"
secret sori-s3 \
  access-key-id="${AWS_ACCESS_KEY_ID:-$(random)}" \
  secret-access-key="${AWS_SECRET_ACCESS_KEY:-$(random)}"
secret sori-webhook signing-key="$(random)"

#!/usr/bin/env bash
# Print the Secrets that the pods refer to, with random keys and values from the environment:
#   deploy/k8s/make-secrets.sh | kubectl apply -f -
#
# For production, set DATABASE_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, SMTP_URL, TARGET_SERVER_TOKEN,
# the bearer token that your analysis server requires (empty: none), and ACCOUNTS_PROVIDERS, if learners log
# in with Google and others. The defaults are for PostgreSQL, S3, the mail server and the analyzer of the
# overlay `local`. Run it once: a second run replaces the keys, and PostgreSQL and S3 still have the old
# ones. With arguments it prints only these Secrets: make-secrets.sh sori-accounts sori-mail
set -euo pipefail
wanted=" $* "

random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# secret NAME KEY=VALUE... Values go through pipes, because every user can see arguments.
secret() {
  local name=$1 files=() each
  shift
  [[ "$wanted" == "  " || "$wanted" == *" $name "* ]] || return 0
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
secret sori-analyzer token="${TARGET_SERVER_TOKEN-$(random)}"
secret sori-mail url="${SMTP_URL:-smtp://mail:1025}"
secret sori-accounts secret="$(random)" ${ACCOUNTS_PROVIDERS:+"providers=$ACCOUNTS_PROVIDERS"}

#!/bin/sh
# Prepare the base image to run programs: add a user for them, remove the installers.
set -eu
groupadd --gid 65532 nonroot
useradd --uid 65532 --gid 65532 --key UID_MAX=65532 --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin nonroot
rm -r "$(python -c 'import ensurepip; print(*ensurepip.__path__)')"
python -m pip --disable-pip-version-check uninstall --quiet --yes --root-user-action ignore \
    wheel setuptools pip

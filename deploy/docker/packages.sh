#!/bin/sh
# Install the packages of a lock file into /opt/venv in a build stage, without unused files.
set -eu
python -m venv --without-pip /opt/venv
# Only wheels: nothing is compiled here.
python -m pip --disable-pip-version-check --python /opt/venv/bin/python install \
    --quiet --no-compile --require-hashes --only-binary :all: --requirement "$1"

packages=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$packages" -depth -type d -name tests -exec rm -r {} +
find "$packages" -type f -name '*.pyi' -delete
# Keep S3 and the services that provide credentials, of AWS's hundreds.
if [ -d "$packages/botocore" ]; then
    find "$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
fi

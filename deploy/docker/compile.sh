#!/bin/sh
# Compile everything in /app and /opt/venv, because a container can't: its root is read-only.
# The result depends on the sources alone, not on their times.
set -eu
python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app /opt/venv/lib

#!/bin/sh
# Compile /app and /opt/venv to bytecode, because containers have a read-only root.
# The result depends only on the content of the sources, not on their modification times.
set -eu
python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app /opt/venv/lib

"""`python -m bench.load MODULE`: see the package."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from importlib import import_module

from bench.loop import run


def main() -> None:
    """Run one driver."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Each watcher and each slot has a connection.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    driver = import_module(sys.argv[1])
    settings = driver.Settings(**json.load(sys.stdin))
    json.dump(asdict(run(driver.measure(settings))), sys.stdout)


if __name__ == "__main__":
    main()

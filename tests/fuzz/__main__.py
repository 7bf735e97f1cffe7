"""Coverage-guided fuzzing of one target: `python -m tests.fuzz form -max_total_time=60`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["services.upload", "multipart"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Pass the other arguments to libFuzzer as its options."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""The version of the product, as `pyproject.toml` states it: `python -m services.version`."""

from __future__ import annotations

import sys
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@cache
def product_version() -> str:
    """The version, such as "0.2.0".

    A clone and the images have `pyproject.toml` next to the package. An installed wheel
    does not, but has the version in its metadata.
    """
    if not _PROJECT.exists():
        return version("sori")
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    return str(project["version"])


if __name__ == "__main__":
    sys.stdout.write(f"{product_version()}\n")

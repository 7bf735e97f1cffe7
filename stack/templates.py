"""Configurations of the stack's programs, rendered from the templates in this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def rendered(name: str, values: dict[str, object], **filters: Callable[..., str]) -> str:
    """A rendered template.

    name: its file name in this folder.
    filters: by their names in the template.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        # Not HTML.
        autoescape=False,  # noqa: S701
    )
    environment.filters.update(filters)
    return environment.get_template(name).render(values)

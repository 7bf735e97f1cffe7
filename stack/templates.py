"""Configurations of the stack's programs, made of the templates beside this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def rendered(name: str, values: dict[str, object], **filters: Callable[..., str]) -> str:
    """A template with its values, and filters for them."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        # Not HTML.
        autoescape=False,  # noqa: S701
    )
    environment.filters.update(filters)
    return environment.get_template(name).render(values)

"""Errors of PostgreSQL without the values of rows, which may be personal or secret."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg

_DETAIL = "\nDETAIL:"


def remove_row_details(error: BaseException) -> None:
    """Remove the detail from an error and from its causes: it can contain a whole row.

    The log of an unexpected error has the texts of all of them.
    """
    for each in _chain(error):
        if isinstance(each, asyncpg.PostgresError):
            each.detail = None
        else:
            each.args = tuple(map(_without_detail, each.args))


def _without_detail(argument: object) -> object:
    """SQLAlchemy's errors repeat the text of their cause."""
    return argument.partition(_DETAIL)[0] if isinstance(argument, str) else argument


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

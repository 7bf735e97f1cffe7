"""Statements for asyncpg, written with SQLAlchemy and compiled once.

A statement of the hot path is built at import: `Database.connection` runs it without
SQLAlchemy's connection and result, which cost five times what asyncpg costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asyncpg import Connection, Record
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import asyncpg as dialect


class _Compiler(dialect.PGCompiler_asyncpg):
    """Writes constants into the text: PostgreSQL plans with them, and asyncpg sends none."""

    def visit_bindparam(self, bindparam: Any, *arguments: Any, **options: Any) -> Any:
        if not bindparam.required and bindparam.type._cached_literal_processor(self.dialect):
            options["literal_binds"] = True
        return super().visit_bindparam(  # type: ignore[no-untyped-call]
            bindparam, *arguments, **options
        )


_DIALECT: Any = dialect.dialect()  # type: ignore[no-untyped-call]
_DIALECT.statement_compiler = _Compiler


class Statement:
    """An SQL text with named parameters; asyncpg prepares it once on each connection."""

    def __init__(self, statement: Executable) -> None:
        """Compile a statement; each `bindparam` without a value is a parameter of every run."""
        compiled: Any = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
        names = {name for name, bind in compiled.binds.items() if bind.required}
        # Lists of constants, as in `IN`, become one argument for each element.
        expanded = compiled.construct_expanded_state(dict.fromkeys(names))
        processors = {**compiled._bind_processors, **expanded.processors}
        self.sql: str = expanded.statement
        self._arguments = [
            _Argument(
                name if name in names else None,
                processors.get(name) or _unchanged,
                expanded.parameters[name],
            )
            for name in expanded.positiontup or ()
        ]

    async def rows(self, connection: Connection, **parameters: object) -> list[Record]:
        """All rows that the statement returns."""
        rows: list[Record] = await connection.fetch(self.sql, *self._values(parameters))
        return rows

    async def row(self, connection: Connection, **parameters: object) -> Record | None:
        """The first row that the statement returns; None without one."""
        return await connection.fetchrow(self.sql, *self._values(parameters))

    def _values(self, parameters: dict[str, object]) -> list[object]:
        return [argument.value(parameters) for argument in self._arguments]


@dataclass(frozen=True, slots=True)
class _Argument:
    """A positional argument. name: of the parameter; None for a constant of the statement."""

    name: str | None
    process: Callable[[Any], object]
    constant: object

    def value(self, parameters: dict[str, object]) -> object:
        """What asyncpg gets. Errors: KeyError for a missing parameter."""
        return self.process(self.constant if self.name is None else parameters[self.name])


def _unchanged(value: object) -> object:
    return value

"""The page that draws the catalog's schema: `python -m services.catalog.schema_page`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sqlalchemy import Column, ForeignKey, MetaData, Table
from sqlalchemy.dialects.postgresql import dialect

from services.catalog.tables import metadata

HEAD = """# The catalog's tables
Drawn from `services/catalog/tables.py` by `make erd`; a test checks that it is current.
PK is a primary key, FK a foreign key, UK a value that is unique.

```mermaid
erDiagram
"""
TAIL = """```

Search goes by indexes of trigrams over the functions `fold`, `search_key` and
`initials_key` of the schema. `token_changes` is kept by a trigger on `tokens` and has no
foreign key, because it outlives its tokens; `requests` remembers creations for a day.
"""


def page(tables: MetaData) -> str:
    """The page as Markdown with a mermaid diagram."""
    lines = [line for table in tables.sorted_tables for line in _lines(table)]
    return HEAD + "".join(f"    {line}\n" for line in lines) + TAIL


def _lines(table: Table) -> Iterator[str]:
    yield f"{table.name} {{"
    for column in table.columns:
        kind = column.type.compile(dialect=_DIALECT).lower().replace(" ", "_")
        yield f"    {kind} {column.name} {_keys(column)}".rstrip()
    yield "}"
    for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
        yield _relation(table, key)


def _keys(column: Column[object]) -> str:
    keys = []
    if column.primary_key:
        keys.append("PK")
    if column.foreign_keys:
        keys.append("FK")
    if column.unique:
        keys.append("UK")
    note = "" if column.nullable else ' "not null"'
    return ", ".join(keys) + ("" if column.primary_key else note)


def _relation(table: Table, key: ForeignKey) -> str:
    deletion = "deleted with it" if key.ondelete == "CASCADE" else "keeps it"
    return f'{key.column.table.name} ||--o{{ {table.name} : "{deletion}"'


_DIALECT = dialect()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.stdout.write(page(metadata))

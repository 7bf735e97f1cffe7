"""Print the diagram of the catalog's schema: `python -m services.catalog.schema_page`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sqlalchemy import Column, ForeignKey, MetaData, Table
from sqlalchemy.dialects.postgresql import dialect

from services.catalog.tables import metadata

HEAD = """# The catalog's tables
`make erd` generates this page from `services/catalog/tables.py`; a test checks that it is
current. PK is a primary key, FK a foreign key, UK a unique key.

```mermaid
erDiagram
"""
TAIL = """```

Search uses trigram indexes on the results of the SQL functions `fold`, `search_key` and
`initials_key`. A trigger on `tokens` writes `token_changes`, which has no foreign key because
its rows outlive their tokens. `requests` stores the request ids of the last 24 hours.
"""


def page(tables: MetaData) -> str:
    """The page in Markdown, with a Mermaid diagram."""
    lines = [line for table in tables.sorted_tables for line in _lines(table)]
    return HEAD + "".join(f"    {line}\n" for line in lines) + TAIL


def _lines(table: Table) -> Iterator[str]:
    yield f"{table.name} {{"
    for column in table.columns:
        type_name = column.type.compile(dialect=_DIALECT).lower().replace(" ", "_")
        yield f"    {type_name} {column.name} {_keys(column)}".rstrip()
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
    comment = "" if column.nullable or column.primary_key else ' "not null"'
    return ", ".join(keys) + comment


def _relation(table: Table, key: ForeignKey) -> str:
    on_delete = "cascades" if key.ondelete == "CASCADE" else "restricts"
    return f'{key.column.table.name} ||--o{{ {table.name} : "delete {on_delete}"'


_DIALECT = dialect()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.stdout.write(page(metadata))

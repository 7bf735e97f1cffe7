"""Conventions of all tables."""

from __future__ import annotations

from sqlalchemy import MetaData


def metadata_of(schema: str) -> MetaData:
    """The metadata of a schema, with one naming convention for keys, indexes and checks."""
    return MetaData(
        schema=schema,
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        },
    )

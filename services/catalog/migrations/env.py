"""Alembic's entry into the catalog's migrations."""

from services.catalog.tables import metadata
from services.runtime.migrations import run_migrations

run_migrations(metadata)

"""Alembic's entry into the analysis service's migrations."""

from services.analysis.tables import metadata
from services.runtime.migrations import run_migrations

run_migrations(metadata)

"""Alembic's entry into the upload service's migrations."""

from services.runtime.migrations import run_migrations
from services.upload.tables import metadata

run_migrations(metadata)

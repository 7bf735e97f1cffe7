"""The environment in which Alembic runs the migrations of the catalog."""

from services.catalog.tables import metadata
from services.runtime.migrations import run_migrations

run_migrations(metadata)

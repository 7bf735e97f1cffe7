"""The environment in which Alembic runs the migrations of the accounts service."""

from services.accounts.tables import metadata
from services.runtime.migrations import run_migrations

run_migrations(metadata)

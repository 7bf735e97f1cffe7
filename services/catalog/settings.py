"""Settings of the catalog service."""

from __future__ import annotations

from pydantic import Field

from services.runtime.settings import DatabaseSettings, ObjectStoreSettings


class CatalogSettings(DatabaseSettings, ObjectStoreSettings):
    """Where the catalog listens, besides what every service is told."""

    catalog_listen: str = Field("127.0.0.1:50051", description="host:port to listen on.")

"""Settings of the upload service."""

from __future__ import annotations

from pydantic import Field

from services.runtime.settings import ObjectStoreSettings


class UploadSettings(ObjectStoreSettings):
    """Where the upload service listens, whom it asks, and how much it takes."""

    upload_listen: str = Field("127.0.0.1:50052", description="host:port to listen on.")
    catalog_address: str = Field("localhost:50051", description="host:port of the catalog.")
    analysis_address: str = Field("localhost:50053", description="host:port of analysis.")
    max_recording_bytes: int = Field(
        1024**3, ge=1, description="Largest recording that is taken, in bytes."
    )
    max_asset_bytes: int = Field(
        256 * 1024**2, ge=1, description="Largest reference asset that is taken, in bytes."
    )

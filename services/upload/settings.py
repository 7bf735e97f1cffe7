"""Settings of the upload service."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from services.runtime.settings import DatabaseSettings, ObjectStoreSettings
from services.upload.uploads import part_bytes_for


class UploadSettings(DatabaseSettings, ObjectStoreSettings):
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
    max_recording_seconds: float = Field(
        4 * 3600.0,
        gt=0,
        description="Longest recording that is taken, where its first 64 KiB tell how long it is.",
    )
    upload_memory_bytes: int = Field(
        128 * 1024**2,
        ge=1,
        description=(
            "Memory that all uploads of a process share; it must hold two parts of the largest "
            "recording. Each upload has 64 KiB besides."
        ),
    )
    upload_idle_seconds: float = Field(
        120,
        gt=0,
        description=(
            "How long an upload may send nothing before it is cut; time for one message of gRPC, "
            "of which nothing is seen before it is whole."
        ),
    )
    upload_expiry_seconds: float = Field(
        24 * 3600.0,
        ge=1,
        le=29 * 24 * 3600,
        description=(
            "How long after its last bytes a resumable upload can be gone on with, and after its "
            "end be asked about."
        ),
    )
    upload_sweep_seconds: float = Field(
        5, gt=0, description="Pause between two looks for uploads that were left behind."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        largest = max(self.max_recording_bytes, self.max_asset_bytes)
        least = 2 * part_bytes_for(largest)
        if self.upload_memory_bytes < least:
            raise ValueError(
                f"UPLOAD_MEMORY_BYTES must be at least {least} for files of {largest} bytes"
            )
        return self

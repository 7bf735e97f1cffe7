"""Settings of the upload service."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from services.runtime.callers import GUEST_SECONDS
from services.runtime.settings import DatabaseSettings, ObjectStoreSettings
from services.upload.models import part_bytes_for


class UploadSettings(DatabaseSettings, ObjectStoreSettings):
    """Addresses and limits of the upload service."""

    upload_listen: str = Field("127.0.0.1:50052", description="host:port to listen on.")
    upload_max_calls: int = Field(
        512,
        ge=0,
        description=(
            "How many calls a process handles at the same time; 0: unlimited. Each upload needs "
            "about 1.5 MiB for messages of 1 MiB, besides UPLOAD_MEMORY_BYTES."
        ),
    )
    catalog_address: str = Field("localhost:50051", description="host:port of the catalog service.")
    analysis_address: str = Field(
        "localhost:50053", description="host:port of the analysis service."
    )
    accounts_address: str = Field(
        "localhost:50054", description="host:port of the accounts service."
    )
    max_recording_bytes: int = Field(1024**3, ge=1, description="Largest recording, in bytes.")
    max_asset_bytes: int = Field(
        256 * 1024**2, ge=1, description="Largest reference asset, in bytes."
    )
    max_picture_bytes: int = Field(
        5 * 1024**2, ge=1, description="Largest picture of an account, in bytes."
    )
    max_recording_seconds: float = Field(
        4 * 3600.0,
        gt=0,
        description="Longest recording, in seconds, if its first 64 KiB state a duration.",
    )
    upload_memory_bytes: int = Field(
        64 * 1024**2,
        ge=1,
        description=(
            "Memory that all uploads of a process share, in bytes; it must hold two parts of "
            "the largest recording. Each upload uses up to 64 KiB more."
        ),
    )
    upload_idle_seconds: float = Field(
        120,
        gt=0,
        description=(
            "How long an upload may send nothing before the server cuts it, in seconds. It must "
            "be time enough for one gRPC message, which arrives as a whole."
        ),
    )
    upload_expiry_seconds: float = Field(
        24 * 3600.0,
        ge=1,
        le=29 * 24 * 3600,
        description=(
            "How long a resumable upload can be resumed after its last bytes, and queried after "
            "its end, in seconds."
        ),
    )
    upload_sweep_seconds: float = Field(
        5, gt=0, description="Pause between two runs of the upload reaper, in seconds."
    )

    upload_max_submissions: int = Field(
        32,
        ge=1,
        description=(
            "How many takes that arrived at once a process stores and submits at the same time; "
            "the others wait in the order of their arrival. 32 keep a core busy while S3 answers "
            "within 50 ms; with more, each take only becomes slower."
        ),
    )
    upload_orphan_sweep_seconds: float = Field(
        2,
        ge=0,
        description=(
            "Pause between two pages of 1,000 recordings of which a process checks whether their "
            "jobs exist, in seconds; 0: never. Each recording is listed once by each process, "
            "two to three hours after its upload."
        ),
    )
    upload_orphan_lookback_hours: float = Field(
        24,
        ge=4,
        le=24,
        description=(
            "How many hours back a process starts to check recordings when it starts. Less than "
            "RETENTION_DAYS, because a recording can outlive the first of its jobs."
        ),
    )

    guest_seconds: int = Field(
        GUEST_SECONDS,
        ge=60,
        le=366 * 24 * 3600,
        description=(
            "How long a guest exists after its first upload, in seconds: the lifetime of its "
            "cookie. Then only operators can use its takes. Default: 30 days; hours in production."
        ),
    )
    client_max_open_uploads: int = Field(
        1_000,
        ge=0,
        description=(
            "How many uploads that have not ended the callers without an account at one IPv4 "
            "address, or in one IPv6 /64, may have together; 0: unlimited. A whole school may be "
            "one address."
        ),
    )
    client_max_bytes_per_day: int = Field(
        50 * 10**9,
        ge=0,
        description=(
            "How many bytes the callers without an account at one address may send a day (UTC); "
            "0: unlimited. The default is enough for 1,000 learners who send 50 takes of 1 MB each."
        ),
    )
    account_max_open_uploads: int = Field(
        200,
        ge=0,
        description="How many uploads that have not ended an account may have; 0: unlimited.",
    )
    account_max_bytes_per_day: int = Field(
        10 * 10**9,
        ge=0,
        description=(
            "How many bytes an account may send a day (UTC), from any address; 0: unlimited. A "
            "learner sends less than 1 GB; an editor may send some thousand reference assets."
        ),
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        largest = max(self.max_recording_bytes, self.max_asset_bytes, self.max_picture_bytes)
        least = 2 * part_bytes_for(largest)
        if self.upload_memory_bytes < least:
            raise ValueError(
                f"UPLOAD_MEMORY_BYTES must be at least {least} for files of {largest} bytes"
            )
        return self

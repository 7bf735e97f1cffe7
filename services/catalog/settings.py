"""Settings of the catalog service."""

from __future__ import annotations

from pydantic import Field

from services.runtime.settings import DatabaseSettings, ObjectStoreSettings


class CatalogSettings(DatabaseSettings, ObjectStoreSettings):
    """Addresses and intervals of the catalog, in addition to the settings of all services."""

    catalog_listen: str = Field("127.0.0.1:50051", description="host:port to listen on.")
    catalog_public: bool = Field(
        True,
        description=(
            "Whether everyone may read the catalog; otherwise only callers who may upload takes. "
            "The gateway has the same setting."
        ),
    )
    catalog_max_calls: int = Field(
        1_000,
        ge=0,
        description="How many calls a process handles at the same time; 0: unlimited.",
    )
    catalog_max_watches_per_client: int = Field(
        50,
        ge=0,
        description=(
            "Watches of tokens that one client address can have at the same time at each process; "
            "each upload process has one; 0: unlimited."
        ),
    )
    catalog_max_watches: int = Field(
        500,
        ge=0,
        description=(
            "Watches of tokens that a process serves at the same time; fewer than "
            "CATALOG_MAX_CALLS, so that watchers leave room for other calls; 0: unlimited."
        ),
    )
    analysis_address: str = Field(
        "127.0.0.1:50053", description="host:port of the analysis service."
    )
    view_flush_seconds: float = Field(
        5.0, gt=0, description="How long views are counted in memory before they are stored."
    )
    catalog_cache_bytes: int = Field(
        32 * 1024**2,
        ge=0,
        description="Memory for popular tokens and pages, in bytes; 0: none. The default holds"
        " about 7,000 tokens of 4 KiB, and fits into the pods next to 1,000 calls.",
    )
    heartbeat_seconds: float = Field(
        15.0,
        gt=0,
        description="The longest time between two messages of a token watch; without changes,"
        " a heartbeat is sent.",
    )

"""Settings of the analysis service."""

from __future__ import annotations

from pydantic import Field, HttpUrl, SecretStr

from services.runtime.settings import DatabaseSettings, ObjectStoreSettings


class AnalysisSettings(DatabaseSettings, ObjectStoreSettings):
    """Where to dispatch, how long to wait, and how webhooks are signed."""

    analysis_listen: str = Field("127.0.0.1:50053", description="host:port to listen on.")
    catalog_address: str = Field("localhost:50051", description="host:port of the catalog.")
    target_server_url: HttpUrl = Field(
        HttpUrl("http://localhost:8100/analyze-voice"),
        description="Where the analysis server takes jobs.",
    )
    webhook_url: HttpUrl = Field(
        HttpUrl("http://localhost:8000/tokens/webhook/analysis-complete"),
        description="Where the analysis server reports; job_id and signature are added.",
    )
    webhook_signing_key: SecretStr = Field(
        min_length=16, description="Secret that webhook signatures are made with."
    )
    webhook_signature_required: bool = Field(
        True,
        description=(
            "Off takes reports without a signature, for analysis servers that rebuild the URL: "
            "then whoever learns a job_id can forge its result."
        ),
    )
    dispatch_concurrency: int = Field(16, ge=1, description="Dispatches under way per process.")
    dispatch_timeout_seconds: float = Field(
        30.0, gt=0, description="Longest wait for the analysis server to answer a dispatch."
    )
    dispatch_max_attempts: int = Field(
        8, ge=1, description="Dispatches of one job before it fails."
    )
    dispatch_backoff_seconds: float = Field(
        1.0, gt=0, description="Longest pause after the first failed attempt; doubles each time."
    )
    dispatch_poll_seconds: float = Field(
        1.0, gt=0, description="Pause between looks for due jobs when no notice comes."
    )
    upload_timeout_seconds: float = Field(
        3600.0, gt=0, description="How long a job may wait for its recording."
    )
    analysis_timeout_seconds: float = Field(
        600.0, gt=0, description="How long a dispatched job may wait for the report."
    )
    recording_url_seconds: int = Field(
        3600, ge=1, le=604_800, description="How long the presigned URL of a recording is valid."
    )
    heartbeat_seconds: float = Field(
        15.0, gt=0, description="Pause after which watchers get the same state again."
    )

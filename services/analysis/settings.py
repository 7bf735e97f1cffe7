"""Settings of the analysis service."""

from __future__ import annotations

from pydantic import Field, HttpUrl, SecretStr

from services.runtime.settings import DatabaseSettings, ObjectStoreSettings


class AnalysisSettings(DatabaseSettings, ObjectStoreSettings):
    """Where to dispatch, how long to wait, what to keep, and how webhooks are signed."""

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
    webhook_signing_key_previous: SecretStr = Field(
        SecretStr(""),
        description=(
            "Another key, whose signatures are taken, too: for the time in which one is replaced."
        ),
    )
    webhook_signature_required: bool = Field(
        True,
        description=(
            "Off takes reports without a signature, for analysis servers that rebuild the URL: "
            "then whoever learns a job_id can forge its result."
        ),
    )
    dispatch_concurrency: int = Field(16, ge=1, description="Jobs under way per worker.")
    dispatch_connect_timeout_seconds: float = Field(
        3.0, gt=0, description="Longest wait for a connection to the analysis server."
    )
    dispatch_timeout_seconds: float = Field(
        30.0, gt=0, description="Longest time of one attempt, from its first step to the answer."
    )
    dispatch_max_attempts: int = Field(
        10,
        ge=1,
        description="Dispatches that the analysis server may have seen, before a job fails.",
    )
    dispatch_backoff_seconds: float = Field(
        1.0, gt=0, description="Longest pause after the first failed attempt; doubles each time."
    )
    dispatch_deadline_seconds: float = Field(
        3600.0, gt=0, description="How long until the analysis server must have accepted a job."
    )
    dispatch_poll_seconds: float = Field(
        1.0, gt=0, description="Longest pause between looks for due jobs."
    )
    breaker_failures: int = Field(
        5, ge=1, description="Failed attempts in a row after which only probes are sent."
    )
    breaker_pause_seconds: float = Field(3.0, gt=0, description="Pause before each probe.")
    upload_timeout_seconds: float = Field(
        120.0, gt=0, description="How long a job may wait to hear of its recording."
    )
    analysis_timeout_seconds: float = Field(
        600.0, gt=0, description="How long a dispatched job may wait for the report."
    )
    analysis_max_silences: int = Field(
        2, ge=0, description="How often a job is dispatched again for want of a report."
    )
    status_poll_seconds: float = Field(
        30.0, gt=0, description="Pause between looks at a job's status URL, where there is one."
    )
    result_reuse: bool = Field(
        True,
        description="Whether the same recording of the same token revision is not computed again.",
    )
    analyzer_version: str = Field(
        "",
        max_length=64,
        description=(
            "Version of the analysis server, if it does not state one in its reports; when set, "
            "only results of this version are reused."
        ),
    )
    retention_days: float | None = Field(
        None, gt=0, description="Age at which ended jobs and recordings are deleted; default: none."
    )
    recording_url_seconds: int = Field(
        3600, ge=1, le=604_800, description="How long the presigned URL of a recording is valid."
    )
    heartbeat_seconds: float = Field(
        15.0, gt=0, description="Pause after which watchers get the same state again."
    )

"""Settings of the analysis service."""

from __future__ import annotations

from pydantic import Field, HttpUrl, SecretStr

from services.runtime.settings import DatabaseSettings, ObjectStoreSettings


class AnalysisSettings(DatabaseSettings, ObjectStoreSettings):
    """Addresses, time limits, retries, retention and webhook signatures."""

    analysis_listen: str = Field("127.0.0.1:50053", description="host:port to listen on.")
    analysis_max_calls: int = Field(
        12_000,
        ge=0,
        description=(
            "How many calls a process handles at the same time, watchers included; 0: unlimited. "
            "A watcher needs 25 kB."
        ),
    )
    catalog_address: str = Field("localhost:50051", description="host:port of the catalog.")
    target_server_url: HttpUrl = Field(
        HttpUrl("http://localhost:8100/analyze-voice"),
        description="URL of the analysis server, which receives dispatches.",
    )
    target_server_token: SecretStr = Field(
        SecretStr(""),
        description=(
            "Secret that dispatches and status requests send as `Authorization: Bearer <token>`; "
            "the ANALYZER_TOKEN of the reference analyzer; default: none."
        ),
    )
    webhook_url: HttpUrl = Field(
        HttpUrl("http://localhost:8000/tokens/webhook/analysis-complete"),
        description="URL that the analysis server reports to; job_id and signature are added.",
    )
    webhook_signing_key: SecretStr = Field(
        min_length=16, description="Secret key of webhook signatures, at least 16 characters."
    )
    webhook_signing_key_previous: SecretStr = Field(
        SecretStr(""),
        description=(
            "Former signing key, whose signatures stay valid while the key is being replaced; "
            "default: no former key."
        ),
    )
    webhook_signature_required: bool = Field(
        True,
        description=(
            "Whether reports need a signature. Turn it off only for analysis servers that rebuild "
            "the webhook URL: anyone who knows a job_id can then forge its result."
        ),
    )
    dispatch_concurrency: int = Field(
        16, ge=1, description="Maximum number of jobs that a worker works on at the same time."
    )
    dispatch_connect_timeout_seconds: float = Field(
        3.0, gt=0, description="Time limit for connecting to the analysis server."
    )
    dispatch_timeout_seconds: float = Field(
        30.0,
        gt=0,
        description="Time limit for one dispatch, from building the request to the answer.",
    )
    dispatch_max_attempts: int = Field(
        10,
        ge=1,
        description=(
            "Number of counted attempts (jobs.counted_attempts) after which a job fails. "
            "Dispatches that the analysis server cannot have seen do not count."
        ),
    )
    dispatch_backoff_seconds: float = Field(
        1.0,
        gt=0,
        description=(
            "Maximum pause after the first failed attempt; doubles with each further one, up to "
            "60 s."
        ),
    )
    dispatch_deadline_seconds: float = Field(
        3600.0, gt=0, description="Time until the analysis server must have accepted a job."
    )
    dispatch_poll_seconds: float = Field(
        1.0, gt=0, description="Maximum time between two queries for due jobs."
    )
    breaker_failures: int = Field(
        5,
        ge=1,
        description="Number of failed dispatches in a row after which a worker sends only probes.",
    )
    breaker_pause_seconds: float = Field(3.0, gt=0, description="Pause before each probe.")
    upload_timeout_seconds: float = Field(
        120.0,
        gt=0,
        description=(
            "Time without a heartbeat of its upload after which a job fails, unless the upload "
            "states another."
        ),
    )
    analysis_timeout_seconds: float = Field(
        600.0, gt=0, description="Time until an accepted job must have been reported."
    )
    analysis_max_silences: int = Field(
        2,
        ge=0,
        description=(
            "Number of times that a job is dispatched again because no report came (jobs.silences)."
        ),
    )
    status_poll_seconds: float = Field(
        30.0, gt=0, description="Pause between two requests to the status URL of a job."
    )
    result_reuse: bool = Field(
        True,
        description=(
            "Whether a recording that its owner had analysed before, for the same token revision, "
            "gets the stored result."
        ),
    )
    analyzer_version: str = Field(
        "",
        max_length=64,
        description=(
            "Version of the analysis server, for reports that state none; when set, only results "
            "of this version are reused."
        ),
    )
    retention_days: float = Field(
        90.0,
        ge=0,
        description=(
            "Age in days at which ended jobs, completed or failed, and their recordings are "
            "deleted; 0: never."
        ),
    )
    recording_url_seconds: int = Field(
        3600, ge=1, le=604_800, description="How long the presigned URL of a recording is valid."
    )
    max_jobs_per_owner: int = Field(
        1000,
        ge=0,
        description=(
            "Analyses that one account or guest may have under way, from the start of the upload "
            "to the end of the analysis; 0: unlimited."
        ),
    )
    max_watches_per_client: int = Field(
        500,
        ge=0,
        description=(
            "Analyses that one account, or the address of a client without one, can watch at the "
            "same time at each process; a school shares one address; 0: unlimited."
        ),
    )
    analysis_max_watches: int = Field(
        10_000,
        ge=0,
        description=(
            "Watches that a process serves at the same time; fewer than ANALYSIS_MAX_CALLS, so "
            "that watchers leave room for other calls; 0: unlimited."
        ),
    )
    analysis_report_bytes: int = Field(
        1024**2,
        ge=65_536,
        le=8 * 1024**2,
        description=(
            "Maximum size in bytes of a report: of the webhook's body, of an answer to a dispatch "
            "and at a status URL. Set GATEWAY_WEBHOOK_BODY_BYTES to the same value."
        ),
    )
    heartbeat_seconds: float = Field(
        15.0,
        gt=0,
        description="Longest time without a change after which watchers get the state again.",
    )

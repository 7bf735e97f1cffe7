"""Settings of the reference analyzer: environment variables that start with `ANALYZER_`."""

from __future__ import annotations

import os

import httpx
from dotenv import find_dotenv
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.analyzer.access import Origin, origins_in


class AnalyzerSettings(BaseSettings):
    """Address, limits, retries and timeouts."""

    model_config = SettingsConfigDict(
        env_file=find_dotenv(usecwd=True), env_prefix="ANALYZER_", extra="ignore", frozen=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8100, ge=0, le=65535, description="Port to listen on; 0 for a free one.")
    public_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="URL at which callers reach this process, for the `status_url`; "
        "if empty, the `status_url` is a path, relative to the URL of the request.",
    )
    allowed_origins: str = Field(
        "http://localhost:18333,http://127.0.0.1:18333,http://localhost:8000,http://127.0.0.1:8000",
        description="Origins of S3 and of the gateway, separated by commas. The analyzer calls no "
        "other servers and follows no redirects.",
    )
    token: SecretStr = Field(
        SecretStr(""),
        description="Secret that callers send as `Authorization: Bearer <token>`, the "
        "TARGET_SERVER_TOKEN of the analysis service; if empty, everyone may call.",
    )
    log_level: str = Field("INFO", description="Lowest log level.")
    metrics_listen: str = Field(
        "", description="`host:port` where Prometheus reads metrics; if empty, nowhere."
    )

    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Worker processes."
    )
    worker_memory_bytes: int = Field(
        1024 * 1024 * 1024,
        ge=512 * 1024 * 1024,
        description="Largest address space of a worker process (RLIMIT_AS). A job that needs more "
        "fails.",
    )
    jobs_per_worker: int = Field(
        1000, ge=1, description="Number of jobs after which a worker process is replaced."
    )
    max_queued: int = Field(
        256, ge=1, description="Most jobs accepted and not yet reported; more are refused with 503."
    )
    retry_after_seconds: int = Field(
        5, ge=1, description="The `Retry-After` of a job refused with 503."
    )
    remembered_seconds: float = Field(
        3600.0,
        ge=0,
        description="How long the report cache keeps a report, for status and repeated requests.",
    )
    remembered_reports: int = Field(10_000, ge=0, description="Most reports in the report cache.")
    remembered_bytes: int = Field(
        64 * 1024 * 1024, ge=0, description="Most bytes of JSON in the report cache."
    )

    max_body_bytes: int = Field(1024 * 1024, ge=1, description="Largest request body.")
    max_audio_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="Largest recording or reference voice."
    )
    max_audio_seconds: float = Field(
        120.0, gt=0, description="Longest recording or reference voice."
    )

    download_timeout_seconds: float = Field(
        60.0, gt=0, description="Longest time to fetch one file, including retries."
    )
    download_attempts: int = Field(3, ge=1, description="Attempts to fetch one file.")
    analysis_timeout_seconds: float = Field(
        120.0, gt=0, description="Longest time that a worker process may spend on one job."
    )
    webhook_timeout_seconds: float = Field(
        10.0, gt=0, description="Longest wait for the response to one report."
    )
    webhook_attempts: int = Field(10, ge=1, description="Attempts to deliver one report.")
    progress_reports: bool = Field(
        True, description="Whether to report the progress of running jobs to the webhook."
    )
    backoff_seconds: float = Field(
        0.5,
        gt=0,
        description="Longest pause after the first failed attempt; it doubles with each attempt.",
    )
    max_backoff_seconds: float = Field(
        30.0, gt=0, description="Longest pause between two attempts."
    )
    shutdown_grace_seconds: float = Field(
        10.0, ge=0, description="How long running jobs may continue after SIGTERM."
    )

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_valid(cls, text: str) -> str:
        try:
            origins_in(text)
        except httpx.InvalidURL as error:
            raise ValueError(f"{text} is not a list of origins") from error
        return text

    @property
    def origins(self) -> frozenset[Origin]:
        """The origins that the analyzer may call."""
        return origins_in(self.allowed_origins)

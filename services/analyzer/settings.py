"""Settings of the analysis server, each an environment variable `ANALYZER_...`."""

from __future__ import annotations

import os

from dotenv import find_dotenv
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AnalyzerSettings(BaseSettings):
    """Where to listen, how much to take on, and how long to wait."""

    model_config = SettingsConfigDict(
        env_file=find_dotenv(usecwd=True), env_prefix="ANALYZER_", extra="ignore", frozen=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8100, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Where callers reach this very process, for its `status_url`; "
        "empty takes what each caller has called.",
    )
    log_level: str = Field("INFO", description="Least level that is logged.")

    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Worker processes."
    )
    jobs_per_worker: int = Field(
        1000, ge=1, description="Jobs after which a worker process is replaced by a fresh one."
    )
    max_queued: int = Field(
        256, ge=1, description="Jobs accepted and not yet reported; more are told to come later."
    )
    retry_after_seconds: int = Field(
        5, ge=1, description="When a caller refused for lack of room may come again."
    )
    remembered_seconds: float = Field(
        3600.0,
        ge=0,
        description="How long the report of an ended job is kept: for its status, and for repeats.",
    )
    remembered_reports: int = Field(10_000, ge=0, description="Most reports kept.")
    remembered_bytes: int = Field(
        64 * 1024 * 1024, ge=0, description="Most bytes of reports kept, as JSON, together."
    )

    max_body_bytes: int = Field(1024 * 1024, ge=1, description="Largest body of a request.")
    max_audio_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="Largest recording or reference voice."
    )
    max_audio_seconds: float = Field(
        120.0, gt=0, description="Longest recording or reference voice."
    )

    download_timeout_seconds: float = Field(
        60.0, gt=0, description="Longest time for one file, repeats included."
    )
    download_attempts: int = Field(3, ge=1, description="Attempts to fetch one file.")
    analysis_timeout_seconds: float = Field(
        120.0, gt=0, description="Longest time a worker process may take over one job."
    )
    webhook_timeout_seconds: float = Field(
        10.0, gt=0, description="Longest wait for the answer to one report."
    )
    webhook_attempts: int = Field(10, ge=1, description="Attempts to deliver one report.")
    progress_reports: bool = Field(
        True, description="Whether the webhook is told how far a running job is."
    )
    backoff_seconds: float = Field(
        0.5, gt=0, description="Longest pause after a first failed attempt; doubles each time."
    )
    max_backoff_seconds: float = Field(30.0, gt=0, description="Longest pause of all.")
    shutdown_grace_seconds: float = Field(
        10.0, ge=0, description="How long jobs under way may go on after SIGTERM."
    )

"""What an upload is: a file on its way to S3, across connections and replicas. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class State(StrEnum):
    """Where an upload stands; all but the first are for ever."""

    RECEIVING = "receiving"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Kind(StrEnum):
    """What an upload becomes."""

    RECORDING = "recording"
    """A recording of a job."""
    PIECE = "piece"
    """A piece of a recording that is put together of several uploads."""
    ASSET = "asset"
    """A reference asset of a token."""


@dataclass(frozen=True)
class Plan:
    """What is to be uploaded.

    token_id: 0 for a piece.
    file_name: as the client calls it, at most 255 characters.
    size: bytes of the whole; None while nobody knows.
    sha256: 32 bytes, checked at the end; None to trust what comes.
    request_id: names the request; empty when it has no name.
    ends_at_size: the upload is whole when its size is reached, without further words.
    client_metadata: what a client said of it and gets back unread.
    """

    kind: Kind
    token_id: int = 0
    file_name: str = ""
    size: int | None = None
    sha256: bytes | None = None
    request_id: str = ""
    ends_at_size: bool = False
    client_metadata: str = ""


@dataclass(frozen=True)
class Upload:
    """An upload as its caller sees it.

    job_id: None unless it becomes a recording.
    committed_size: bytes that are durable; never decreases.
    failure_reason: one of the error reasons; empty unless it failed.
    """

    upload_id: UUID
    plan: Plan
    state: State
    job_id: UUID | None
    committed_size: int
    expire_time: datetime
    create_time: datetime
    failure_reason: str = ""

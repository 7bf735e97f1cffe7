"""Actors, tokens and scripts as the domain knows them.

Times within media are seconds. Ids and create times are None until stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Actor:
    """Whose voice is imitated."""

    name: str
    aliases: tuple[str, ...] = ()
    id: int | None = None
    create_time: datetime | None = None


@dataclass(frozen=True)
class ReferenceAssets:
    """Keys in S3 of what a take is compared with; None where there is no such file."""

    voice: str | None = None
    pitch: str | None = None
    alignment: str | None = None
    background: str | None = None


@dataclass(frozen=True)
class Word:
    """One word of a script."""

    text: str
    start_time: float
    end_time: float


@dataclass(frozen=True)
class Script:
    """One sentence of a token."""

    token_id: int
    text: str
    translation: str
    language_code: str
    start_time: float
    end_time: float
    words: tuple[Word, ...] = ()
    id: int | None = None
    create_time: datetime | None = None


@dataclass(frozen=True)
class Token:
    """One practice clip of a video."""

    name: str
    actor_ids: tuple[int, ...]
    category: str
    source_url: str
    start_time: float
    end_time: float
    reference_assets: ReferenceAssets = ReferenceAssets()
    view_count: int = 0
    revision: int = 1
    scripts: tuple[Script, ...] = ()
    id: int | None = None
    create_time: datetime | None = None

    @property
    def duration(self) -> float:
        """Length of the clip in seconds."""
        return self.end_time - self.start_time

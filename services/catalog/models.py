"""Actors, tokens and scripts as the domain knows them.

Times within media are seconds. Ids and times of creation and update are None until
stored. A version is 1 at first and grows with every update; etags are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True)
class Actor:
    """Whose voice is imitated."""

    name: str
    aliases: tuple[str, ...] = ()
    id: int | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None
    version: int = 1
    token_count: int = 0


@dataclass(frozen=True)
class ReferenceAssets:
    """Keys in S3 of what a take is compared with; None where there is no such file."""

    voice: str | None = None
    pitch: str | None = None
    alignment: str | None = None
    background: str | None = None


@dataclass(frozen=True)
class Word:
    """One word of a script; its probability is None when it is not known."""

    text: str
    start_time: float
    end_time: float
    probability: float | None = None


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
    update_time: datetime | None = None
    version: int = 1


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
    thumbnail_url: str = ""
    view_count: int = 0
    revision: int = 1
    scripts: tuple[Script, ...] = ()
    id: int | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None
    version: int = 1

    @property
    def duration(self) -> float:
        """Length of the clip in seconds."""
        return self.end_time - self.start_time

    @property
    def compared(self) -> tuple[object, ...]:
        """What of the token itself a take is compared with."""
        return (self.start_time, self.end_time, self.reference_assets)


class TokenOrder(StrEnum):
    """Orders that tokens are listed in."""

    LATEST = "latest"
    POPULAR = "popular"
    SHUFFLED = "shuffled"


@dataclass(frozen=True)
class TokenFilter:
    """Which tokens are listed; None and "" stand for any."""

    category: str = ""
    actor_id: int | None = None
    max_duration: float | None = None
    text: str = ""


@dataclass(frozen=True)
class TextMatch:
    """A text that matches a query: how well (0 to 1), and its ranges to highlight."""

    text: str
    score: float
    highlights: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TokenChange:
    """The newest state of a token that has changed."""

    token_id: int
    revision: int
    deleted: bool


def etag_of(resource: Actor | Token | Script) -> str:
    """The etag of a stored resource."""
    return f"{resource.id:x}-{resource.version:x}"

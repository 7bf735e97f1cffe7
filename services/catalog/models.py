"""The domain objects of the catalog: actors, tokens and scripts.

Times within media are in seconds. A resource has an id, a create time and an update time once
it is stored. A version starts at 1 and grows with every update; etags contain it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True)
class Actor:
    """The person whose voice learners imitate."""

    name: str
    aliases: tuple[str, ...] = ()
    id: int | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None
    version: int = 1
    token_count: int = 0


@dataclass(frozen=True)
class ReferenceAssets:
    """The S3 keys of the files that takes are compared with; None means no file."""

    voice: str | None = None
    pitch: str | None = None
    alignment: str | None = None
    background: str | None = None


@dataclass(frozen=True)
class Word:
    """One word of a script. The probability is 0 to 1; None means unknown."""

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
    def analysis_inputs(self) -> tuple[object, ...]:
        """The fields, besides the scripts, that analyses depend on: they raise the revision."""
        return (self.start_time, self.end_time, self.reference_assets)


class TokenOrder(StrEnum):
    """The orders of token lists."""

    LATEST = "latest"
    POPULAR = "popular"
    SHUFFLED = "shuffled"


@dataclass(frozen=True)
class TokenFilter:
    """Which tokens a list contains; None and "" mean any."""

    category: str = ""
    actor_id: int | None = None
    max_duration: float | None = None
    text: str = ""


@dataclass(frozen=True)
class TextMatch:
    """A text that matches a query: its score (0 to 1) and the ranges to highlight."""

    text: str
    score: float
    highlights: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TokenChange:
    """The newest state of a token that changed."""

    token_id: int
    revision: int
    deleted: bool


def etag_of(resource: Actor | Token | Script) -> str:
    """The etag of a stored resource."""
    return f"{resource.id:x}-{resource.version:x}"

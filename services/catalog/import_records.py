"""Import records: splits the chunks of a file into lines and parses each line. Pure.

A line of MAX_LINE_BYTES can have a hundred thousand keys or elements. So the number of keys and
of elements is checked first, and a reason names at most MAX_PROBLEMS problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from services.catalog import validation
from services.catalog.models import Actor, ReferenceAssets, Script, Token, Word
from services.runtime.errors import MAX_FIELD_LENGTH, InvalidField
from services.runtime.text import nfc, shortened

MAX_LINE_BYTES = 1024 * 1024
MAX_PROBLEMS = 5
MAX_REASON_LENGTH = 500
MAX_KEYS = 20
"""No object of a line has more fields."""


@dataclass(frozen=True)
class TokenKey:
    """The natural key of a token: imports do not use ids."""

    name: str
    source_url: str
    start_time: float


@dataclass(frozen=True)
class ActorRecord:
    """An actor and the number of its line."""

    line: int
    actor: Actor

    @property
    def key(self) -> object:
        """The natural key."""
        return self.actor.name


@dataclass(frozen=True)
class TokenRecord:
    """A token with the names of its actors. Its `actor_ids` are placeholders."""

    line: int
    token: Token
    actor_names: tuple[str, ...]

    @property
    def key(self) -> TokenKey:
        """The natural key."""
        return TokenKey(self.token.name, self.token.source_url, self.token.start_time)


@dataclass(frozen=True)
class ScriptRecord:
    """A script with the key of its token. Its `token_id` is a placeholder."""

    line: int
    script: Script
    token_key: TokenKey

    @property
    def key(self) -> object:
        """The natural key."""
        return (self.token_key, self.script.start_time, self.script.text)


Record = ActorRecord | TokenRecord | ScriptRecord


class LineTooLong(Exception):
    """A line is longer than MAX_LINE_BYTES."""


class LineSplitter:
    """Splits chunks of bytes into numbered lines. Holds at most one line in memory."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """The lines that a chunk completes. Errors: LineTooLong."""
        first, *others = chunk.split(b"\n")
        self._append(first)
        for part in others:
            yield self._end_line()
            self._append(part)

    def finish(self) -> Iterator[tuple[int, bytes]]:
        """The last line, if the file does not end with a newline."""
        if self._size > 0:
            yield self._end_line()

    def _end_line(self) -> tuple[int, bytes]:
        self._number += 1
        line = b"".join(self._parts)
        self._parts, self._size = [], 0
        return self._number, line

    def _append(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > MAX_LINE_BYTES:
            raise LineTooLong(f"line {self._number + 1} is longer than {MAX_LINE_BYTES} bytes")


def parse_record(number: int, line: bytes) -> Record | None:
    """The record of a line; None if the line is blank.

    Errors: ValueError, which names the invalid fields in at most MAX_REASON_LENGTH characters.
    """
    try:
        return _parsed(number, line)
    except (ValueError, InvalidField) as error:
        raise ValueError(shortened(str(error), MAX_REASON_LENGTH)) from None


def _parsed(number: int, line: bytes) -> Record | None:
    if not line.strip():
        return None
    try:
        parsed = _Line.model_validate_json(line)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        problems = (_problem(each["loc"], each["msg"]) for each in details[:MAX_PROBLEMS])
        raise ValueError("; ".join(problems)) from None
    return _record(number, parsed)


def _problem(path: tuple[int | str, ...], message: str) -> str:
    # An unknown key can be as long as the line.
    keys = (shortened(str(each), MAX_FIELD_LENGTH) for each in path)
    return f"{'.'.join(keys) or 'line'}: {message}"


def _record(number: int, line: _Line) -> Record:
    match line:
        case _Line(actor=_ActorLine() as actor, token=None, script=None):
            return _actor_record(number, actor)
        case _Line(actor=None, token=_TokenLine() as token, script=None):
            return _token_record(number, token)
        case _Line(actor=None, token=None, script=_ScriptLine() as script):
            return _script_record(number, script)
        case _:
            raise ValueError("line: must have exactly one of the keys actor, token and script")


def _actor_record(number: int, line: _ActorLine) -> ActorRecord:
    actor = Actor(line.name, tuple(line.aliases))
    validation.check_actor(actor)
    return ActorRecord(number, actor)


def _token_record(number: int, line: _TokenLine) -> TokenRecord:
    token = Token(
        name=line.name,
        # Placeholders until the ids are known: validation checks their number.
        actor_ids=tuple(range(1, len(line.actors) + 1)),
        category=line.category,
        source_url=line.source_url,
        start_time=line.start_time,
        end_time=line.end_time,
        thumbnail_url=line.thumbnail_url,
        reference_assets=ReferenceAssets(**line.reference_assets.model_dump()),
    )
    validation.check_token(token)
    for position, name in enumerate(line.actors):
        validation.check_name(f"token.actors[{position}]", name)
    if len(set(line.actors)) < len(line.actors):
        raise ValueError("token.actors: must not contain a value twice")
    return TokenRecord(number, token, tuple(line.actors))


def _script_record(number: int, line: _ScriptLine) -> ScriptRecord:
    script = Script(
        token_id=1,
        text=line.text,
        translation=line.translation,
        language_code=line.language_code,
        start_time=line.start_time,
        end_time=line.end_time,
        words=tuple(
            Word(word.text, word.start_time, word.end_time, word.probability) for word in line.words
        ),
    )
    validation.check_script(script)
    token = line.token
    validation.check_name("script.token.name", token.name)
    validation.check_url("script.token.source_url", token.source_url)
    return ScriptRecord(number, script, TokenKey(token.name, token.source_url, token.start_time))


_Name = Annotated[str, AfterValidator(partial(nfc, limit=validation.MAX_NAME_LENGTH))]
_Category = Annotated[str, AfterValidator(partial(nfc, limit=validation.MAX_CATEGORY_LENGTH))]
_Text = Annotated[str, AfterValidator(partial(nfc, limit=validation.MAX_TEXT_LENGTH))]


class _Part(BaseModel):
    """Fields as ExportCatalog writes them. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _check_number_of_keys(cls, value: object) -> object:
        if isinstance(value, dict) and len(value) > MAX_KEYS:
            raise PydanticCustomError(
                "too_many_keys", "must have at most {limit} keys", {"limit": MAX_KEYS}
            )
        return value


class _ActorLine(_Part):
    name: _Name
    aliases: Annotated[list[_Name], Field(max_length=validation.MAX_ALIASES)] = []


class _AssetsLine(_Part):
    voice: str | None = None
    pitch: str | None = None
    alignment: str | None = None
    background: str | None = None


class _TokenKeyLine(_Part):
    name: _Name
    source_url: str = ""
    start_time: float = 0


class _TokenLine(_Part):
    name: _Name
    actors: Annotated[list[_Name], Field(max_length=validation.MAX_ACTORS)]
    category: _Category = ""
    source_url: str = ""
    start_time: float = 0
    end_time: float
    thumbnail_url: str = ""
    reference_assets: _AssetsLine = Field(default_factory=_AssetsLine)


class _WordLine(_Part):
    text: _Name
    start_time: float = 0
    end_time: float = 0
    probability: float | None = None


class _ScriptLine(_Part):
    token: _TokenKeyLine
    text: _Text
    translation: _Text = ""
    language_code: str = ""
    start_time: float = 0
    end_time: float
    words: Annotated[list[_WordLine], Field(max_length=validation.MAX_WORDS)] = []


class _Line(_Part):
    actor: _ActorLine | None = None
    token: _TokenLine | None = None
    script: _ScriptLine | None = None

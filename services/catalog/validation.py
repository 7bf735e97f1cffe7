"""Validation of actors, tokens, scripts and queries. Pure.

Each `check_*` function raises one InvalidField that names the invalid fields, at most
MAX_VIOLATIONS, by their paths in the request. `check_counts` runs first: the other functions
look at every element of a list, and a request can have millions of them. The rules are code,
not annotations in the proto (protovalidate), because rpcs and imports share them and some
depend on stored data. The comments of the proto state them for callers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from itertools import islice
from uuid import UUID

from google.protobuf.message import Message
from pydantic import HttpUrl, TypeAdapter, ValidationError

from services.catalog.matching import has_run_of_letters
from services.catalog.models import (
    Actor,
    ReferenceAssets,
    Script,
    Token,
    TokenFilter,
    TokenOrder,
    Word,
)
from services.runtime.errors import MAX_VIOLATIONS, FieldViolation, InvalidField
from services.runtime.text import text_problem

MAX_NAME_LENGTH = 200
MAX_ALIASES = 50
MAX_ACTORS = 50
MAX_CATEGORY_LENGTH = 100
MAX_URL_LENGTH = 2_000
MAX_CLIP_SECONDS = 600
MAX_TEXT_LENGTH = 2_000
MAX_LANGUAGE_LENGTH = 35
MAX_WORDS = 500
MAX_KEY_LENGTH = 500
MAX_BATCH = 1_000
MAX_QUERY_LENGTH = 100
MAX_REQUEST_ID_LENGTH = 45
"""The length of a UUID as a URN, its longest form."""
MIN_TEXT_LETTERS = 3

MAX_COUNTS = {
    "actor": {"aliases": MAX_ALIASES},
    "token": {"actor_ids": MAX_ACTORS},
    "script": {"words": MAX_WORDS},
}
"""The largest number of elements of every list that clients can set."""

_OBJECT_KEY = re.compile(r"references/[A-Za-z0-9/_.-]+")
_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_URL = TypeAdapter(HttpUrl)

Violations = Iterator[FieldViolation]


def check_counts(resource: str, message: Message) -> None:
    """Check the lengths of all lists of a resource, without a look at their elements.

    resource: the resource's field in requests: actor, token or script.
    """
    _raise_if_any(
        _too_many(f"{resource}.{field}", limit)
        for field, limit in MAX_COUNTS[resource].items()
        if len(getattr(message, field)) > limit
    )


def check_id(field: str, value: int) -> None:
    """Check that an id is 1 or more."""
    if value < 1:
        raise InvalidField(FieldViolation(field, "must be 1 or more"))


def check_optional_id(field: str, value: int) -> None:
    """Check that an id is 1 or more, or 0 for any."""
    if value < 0:
        raise InvalidField(FieldViolation(field, "must be 1 or more, or 0 for any"))


def check_ids(ids: Sequence[int]) -> None:
    """Check the ids of a batch."""
    _raise_if_any(_ids_violations(ids))


def request_id_of(text: str) -> UUID | None:
    """The request id; None if the text is empty. Errors: InvalidField."""
    try:
        if len(text) > MAX_REQUEST_ID_LENGTH:
            raise ValueError("longer than a UUID")
        return UUID(text) if text else None
    except ValueError:
        raise InvalidField(FieldViolation("request_id", "must be a UUID")) from None


def check_filter(token_filter: TokenFilter, order_by: str, seed: int) -> None:
    """Check the parameters of a token list."""
    _raise_if_any(_filter_violations(token_filter, order_by, seed))


def check_query(query: str) -> None:
    """Check the query of a search."""
    _raise_if_any(_text("query", query, MAX_QUERY_LENGTH, required=True))


def check_name(field: str, value: str) -> None:
    """Check a name, for instance of a resource that an import refers to."""
    _raise_if_any(_text(field, value, MAX_NAME_LENGTH, required=True))


def check_url(field: str, value: str) -> None:
    """Check an http or https URL, which may be empty."""
    _raise_if_any(_url(field, value))


def check_actor(actor: Actor) -> None:
    """Check the fields of an actor."""
    _raise_if_any(_actor_violations(actor))


def check_token(token: Token) -> None:
    """Check the fields of a token."""
    _raise_if_any(_token_violations(token))


def check_script(script: Script) -> None:
    """Check the fields of a script. `check_script_fits` checks its place in the clip."""
    _raise_if_any(_script_violations(script))


def check_script_fits(script: Script, token: Token) -> None:
    """Check that a script ends within the clip of its token."""
    if script.end_time > token.duration:
        length = f"{token.duration:g}"
        problem = f"must be at most the clip's length of {length} seconds"
        raise InvalidField(FieldViolation("script.end_time", problem))


def check_clip_covers(token: Token, last_script_end: float) -> None:
    """Check that the clip of a token is long enough for its scripts.

    last_script_end: where the last script ends, in seconds from the beginning of the clip.
    """
    if last_script_end > token.duration:
        problem = f"must leave at least {last_script_end:g} seconds for the token's scripts"
        raise InvalidField(FieldViolation("token.end_time", problem))


def check_same_token(before: Script, after: Script) -> None:
    """Check that an update keeps a script in its token."""
    if after.token_id != before.token_id:
        raise InvalidField(FieldViolation("script.token_id", "cannot be changed"))


def _raise_if_any(violations: Iterable[FieldViolation]) -> None:
    # The rest is not validated: a request may have more violations than an error can name.
    if named := tuple(islice(violations, MAX_VIOLATIONS)):
        raise InvalidField(*named)


def _ids_violations(ids: Sequence[int]) -> Violations:
    if not ids:
        yield FieldViolation("ids", "must contain at least one id")
    yield from _list("ids", ids, MAX_BATCH)
    if len(ids) <= MAX_BATCH and any(each < 1 for each in ids):
        yield FieldViolation("ids", "must each be 1 or more")


def _filter_violations(token_filter: TokenFilter, order_by: str, seed: int) -> Violations:
    yield from _text("category", token_filter.category, MAX_CATEGORY_LENGTH)
    if problem := text_problem(token_filter.text, MAX_NAME_LENGTH):
        yield FieldViolation("text", problem)
    elif token_filter.text and not has_run_of_letters(token_filter.text, MIN_TEXT_LETTERS):
        # A trigram index cannot find fewer letters, and most sentences contain them.
        yield FieldViolation("text", "must have three letters in a row, or a syllable with three")
    if token_filter.actor_id is not None and token_filter.actor_id < 1:
        yield FieldViolation("actor_id", "must be 1 or more, or 0 for any")
    if token_filter.max_duration is not None and not token_filter.max_duration > 0:
        yield FieldViolation("max_duration", "must be 0 or more")
    if order_by and order_by not in set(TokenOrder):
        yield FieldViolation("order_by", f"must be one of {', '.join(TokenOrder)}")
    if seed < 0:
        yield FieldViolation("seed", "must be 0 or more")


def _actor_violations(actor: Actor) -> Violations:
    yield from _text("actor.name", actor.name, MAX_NAME_LENGTH, required=True)
    yield from _list("actor.aliases", actor.aliases, MAX_ALIASES)
    for number, alias in enumerate(actor.aliases[:MAX_ALIASES]):
        yield from _text(f"actor.aliases[{number}]", alias, MAX_NAME_LENGTH, required=True)


def _token_violations(token: Token) -> Violations:
    yield from _text("token.name", token.name, MAX_NAME_LENGTH, required=True)
    yield from _text("token.category", token.category, MAX_CATEGORY_LENGTH)
    yield from _url("token.source_url", token.source_url)
    yield from _url("token.thumbnail_url", token.thumbnail_url)
    yield from _list("token.actor_ids", token.actor_ids, MAX_ACTORS)
    if not token.actor_ids:
        yield FieldViolation("token.actor_ids", "must contain at least one id")
    yield from _span("token", token.start_time, token.end_time)
    if token.duration > MAX_CLIP_SECONDS:
        yield FieldViolation(
            "token.end_time", f"must be at most {MAX_CLIP_SECONDS} seconds after start_time"
        )
    yield from _asset_violations(token.reference_assets)


def _asset_violations(assets: ReferenceAssets) -> Violations:
    for field, key in zip(fields(assets), astuple(assets), strict=True):
        if key is None:
            continue
        if len(key) > MAX_KEY_LENGTH or ".." in key or not _OBJECT_KEY.fullmatch(key):
            yield FieldViolation(
                f"token.reference_assets.{field.name}.object_key",
                "must be 'references/' followed by letters, digits, '/', '-', '_' or '.', without"
                f" '..', and at most {MAX_KEY_LENGTH} characters",
            )


def _script_violations(script: Script) -> Violations:
    if script.token_id < 1:
        yield FieldViolation("script.token_id", "must be 1 or more")
    yield from _text("script.text", script.text, MAX_TEXT_LENGTH, required=True)
    yield from _text("script.translation", script.translation, MAX_TEXT_LENGTH)
    code = script.language_code
    if code and (len(code) > MAX_LANGUAGE_LENGTH or not _LANGUAGE_CODE.fullmatch(code)):
        yield FieldViolation("script.language_code", "must be a BCP-47 code such as 'en'")
    yield from _span("script", script.start_time, script.end_time)
    if len(script.words) > MAX_WORDS:
        yield _too_many("script.words", MAX_WORDS)
    else:
        yield from _word_violations(script.words)


def _word_violations(words: tuple[Word, ...]) -> Violations:
    earliest = 0.0
    for number, word in enumerate(words):
        path = f"script.words[{number}]"
        yield from _text(f"{path}.text", word.text, MAX_NAME_LENGTH, required=True)
        if not (math.isfinite(word.start_time) and word.start_time >= earliest):
            yield FieldViolation(
                f"{path}.start_time", "must not be before the start of the previous word"
            )
        if not (math.isfinite(word.end_time) and word.end_time >= word.start_time):
            yield FieldViolation(f"{path}.end_time", "must be start_time or later")
        if word.probability is not None and not 0 <= word.probability <= 1:
            yield FieldViolation(f"{path}.probability", "must be between 0 and 1")
        earliest = word.start_time


def _text(field: str, value: str, limit: int, *, required: bool = False) -> Violations:
    if required and not value.strip():
        yield FieldViolation(field, "must not be empty")
    if problem := text_problem(value, limit):
        yield FieldViolation(field, problem)


def _too_many(field: str, limit: int) -> FieldViolation:
    return FieldViolation(field, f"must have at most {limit} elements")


def _list(field: str, values: Sequence[object], limit: int) -> Violations:
    if len(values) > limit:
        yield _too_many(field, limit)
    elif len(set(values)) < len(values):
        yield FieldViolation(field, "must not contain a value twice")


def _url(field: str, value: str) -> Violations:
    if not value:
        return
    if problem := text_problem(value, MAX_URL_LENGTH):
        yield FieldViolation(field, problem)
        return
    try:
        _URL.validate_python(value)
    except ValidationError:
        yield FieldViolation(field, "must be an http or https URL")


def _span(path: str, start: float, end: float) -> Violations:
    if not (math.isfinite(start) and start >= 0):
        yield FieldViolation(f"{path}.start_time", "must be 0 or more")
    if not (math.isfinite(end) and end > start):
        yield FieldViolation(f"{path}.end_time", "must be greater than start_time")

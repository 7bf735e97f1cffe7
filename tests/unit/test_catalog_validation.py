"""Validation of actors, tokens and scripts: every invalid field is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from google.api import field_behavior_pb2

from services.catalog import converters
from services.catalog.models import Actor, ReferenceAssets, Script, Token, Word
from services.catalog.validation import (
    MAX_COUNTS,
    check_actor,
    check_ids,
    check_script,
    check_script_fits,
    check_token,
)
from services.runtime.errors import MAX_VIOLATIONS, InvalidField
from sori.catalog.v1 import catalog_pb2 as pb

TOKEN = Token(name="line", actor_ids=(1,), category="", source_url="", start_time=10, end_time=15.5)
SCRIPT = Script(
    token_id=1, text="hello", translation="", language_code="en", start_time=0, end_time=2
)


def fields(error: pytest.ExceptionInfo[InvalidField]) -> list[str]:
    return [violation.field for violation in error.value.violations]


@pytest.mark.parametrize("name", ["수지", "👩‍🎤", "e\u0301", "سلمى", "x" * 200])
def test_names_of_any_language_are_valid(name: str) -> None:
    check_actor(Actor(name))


def test_every_invalid_field_of_an_actor_is_named() -> None:
    with pytest.raises(InvalidField) as error:
        check_actor(Actor(" ", ("a", "a", "x" * 201)))
    assert fields(error) == ["actor.name", "actor.aliases", "actor.aliases[2]"]


@pytest.mark.parametrize(
    ("token", "field"),
    [
        (replace(TOKEN, name="a\0b"), "token.name"),
        (replace(TOKEN, actor_ids=()), "token.actor_ids"),
        (replace(TOKEN, actor_ids=(1, 1)), "token.actor_ids"),
        (replace(TOKEN, start_time=-1), "token.start_time"),
        (replace(TOKEN, end_time=10), "token.end_time"),
        (replace(TOKEN, end_time=float("nan")), "token.end_time"),
        (replace(TOKEN, end_time=611), "token.end_time"),
        (replace(TOKEN, source_url="javascript:alert(1)"), "token.source_url"),
        (replace(TOKEN, source_url="http://x/a\0b"), "token.source_url"),
        (replace(TOKEN, thumbnail_url="nowhere"), "token.thumbnail_url"),
        (
            replace(TOKEN, reference_assets=ReferenceAssets(voice="recordings/1/x")),
            "token.reference_assets.voice.object_key",
        ),
        (
            replace(TOKEN, reference_assets=ReferenceAssets(pitch="references/../x")),
            "token.reference_assets.pitch.object_key",
        ),
    ],
)
def test_an_invalid_field_of_a_token_is_named(token: Token, field: str) -> None:
    with pytest.raises(InvalidField) as error:
        check_token(token)
    assert fields(error) == [field]


@pytest.mark.parametrize(
    ("script", "field"),
    [
        (replace(SCRIPT, token_id=0), "script.token_id"),
        (replace(SCRIPT, text=""), "script.text"),
        (replace(SCRIPT, language_code="not a code"), "script.language_code"),
        (replace(SCRIPT, words=(Word("a", 1, 2), Word("b", 0.5, 1))), "script.words[1].start_time"),
        (replace(SCRIPT, words=(Word("a", 1, 0.5),)), "script.words[0].end_time"),
        (replace(SCRIPT, words=(Word("a", 0, 1, 1.5),)), "script.words[0].probability"),
        (
            replace(SCRIPT, words=(Word("a", 0, 1, float("nan")),)),
            "script.words[0].probability",
        ),
    ],
)
def test_an_invalid_field_of_a_script_is_named(script: Script, field: str) -> None:
    with pytest.raises(InvalidField) as error:
        check_script(script)
    assert fields(error) == [field]


def test_a_script_must_end_within_its_clip() -> None:
    check_script_fits(replace(SCRIPT, end_time=5.5), TOKEN)
    with pytest.raises(InvalidField):
        check_script_fits(replace(SCRIPT, end_time=5.6), TOKEN)


class Unread(Sequence[int]):
    """A list of a million elements that must not be read."""

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("an element was read before the elements were counted")


def test_ids_are_counted_before_they_are_read() -> None:
    with pytest.raises(InvalidField, match="ids: must have at most 1000 elements"):
        check_ids(Unread())


@pytest.mark.parametrize(
    ("convert", "message", "field"),
    [
        (converters.actor_from, pb.Actor(aliases=[""] * 51), "actor.aliases"),
        (converters.token_from, pb.Token(actor_ids=[0] * 51), "token.actor_ids"),
        (converters.script_from, pb.Script(words=[pb.Word()] * 501), "script.words"),
    ],
)
def test_a_list_with_too_many_elements_is_refused_without_its_elements(
    convert: Callable[[Any], object], message: object, field: str
) -> None:
    with pytest.raises(InvalidField) as error:
        convert(message)
    assert fields(error) == [field]


@pytest.mark.parametrize("resource", [pb.Actor, pb.Token, pb.Script])
def test_every_list_that_clients_set_has_a_largest_number_of_elements(resource: Any) -> None:
    lists = {
        field.name
        for field in resource.DESCRIPTOR.fields
        if field.is_repeated
        and field_behavior_pb2.OUTPUT_ONLY
        not in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    }
    assert set(MAX_COUNTS[resource.DESCRIPTOR.name.lower()]) == lists


def test_validation_ends_at_the_last_violation_that_an_error_names() -> None:
    with pytest.raises(InvalidField) as error:
        check_script(replace(SCRIPT, words=(Word("", 5, 1),) * 500))
    assert len(fields(error)) == MAX_VIOLATIONS


def test_a_text_with_too_many_combining_marks_is_refused() -> None:
    with pytest.raises(InvalidField, match="at most 30 combining marks in a row"):
        check_actor(Actor("a" + "\u0301" * 31))


@pytest.mark.parametrize("name", ["가나다" * 66, "e\u0301" * 200, "\u1111\u1171\u11b6" * 200])
def test_the_length_of_a_text_is_that_of_its_nfc(name: str) -> None:
    check_actor(converters.actor_from(pb.Actor(name=name)))

"""Import records: lines are split independently of the chunks, parsed and validated."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.import_records import (
    MAX_REASON_LENGTH,
    ActorRecord,
    LineSplitter,
    parse_record,
)


@given(content=st.binary(max_size=200), sizes=st.lists(st.integers(1, 20), min_size=1))
def test_lines_do_not_depend_on_the_chunks(content: bytes, sizes: list[int]) -> None:
    splitter = LineSplitter()
    lines: list[tuple[int, bytes]] = []
    remaining, turn = content, 0
    while remaining:
        size = sizes[turn % len(sizes)]
        lines += splitter.feed(remaining[:size])
        remaining, turn = remaining[size:], turn + 1
    lines += splitter.finish()
    expected = content.split(b"\n")
    if not expected[-1]:
        del expected[-1]
    assert lines == list(enumerate(expected, 1))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_an_invalid_line_raises_only_value_errors(line: bytes) -> None:
    with suppress(ValueError):
        parse_record(1, line)


def test_names_are_normalised_to_nfc() -> None:
    record = parse_record(1, '{"actor": {"name": "e\u0301", "aliases": ["a\u0308"]}}'.encode())
    assert isinstance(record, ActorRecord)
    assert (record.actor.name, record.actor.aliases) == ("\u00e9", ("\u00e4",))


MARKS = "\u0315\u0300" * 200_000
KEYS = ",".join(f'"{number}":1' for number in range(50_000))
EMPTY = ",".join(["{}"] * 300_000)
BAD_WORDS = ",".join(['{"text":"","start_time":1}'] * 500)
KEY = '"token":{"name":"t"}'

LARGE_LINES = [
    (f'{{"actor":{{"name":"a{MARKS}"}}}}', "actor.name: must have at most 200 characters."),
    (f'{{"actor":{{"name":"a","aliases":["a{MARKS}"]}}}}', "actor.aliases[0]: must have at most"),
    (f'{{"token":{{"name":"t","actors":["a{MARKS}"],"end_time":1}}}}', "token.actors[0]: must"),
    (f'{{"script":{{"token":{{"name":"t{MARKS}"}},"text":"x","end_time":1}}}}', "script.token.na"),
    (f'{{"script":{{{KEY},"text":"x{MARKS}","end_time":1}}}}', "script.text: must have at most"),
    (f'{{"{"x" * 900_000}":1}}', "xxx"),
    (f"{{{KEYS}}}", "line: must have at most 20 keys"),
    (f'{{"actor":{{{KEYS}}}}}', "actor: must have at most 20 keys"),
    (f'{{"actor":{{"name":"a","aliases":[{EMPTY}]}}}}', "actor.aliases: List should have at mo"),
    (f'{{"token":{{"name":"t","actors":[{EMPTY}],"end_time":1}}}}', "token.actors: List should"),
    (f'{{"script":{{"words":[{EMPTY}]}}}}', "script.token: Field required"),
    (f'{{"script":{{{KEY},"text":"x","end_time":1,"words":[{BAD_WORDS}]}}}}', "script.words[0]"),
    (f'{{"script":{{{KEY},"text":"x","end_time":{"9" * 900_000}}}}}', "line: Invalid JSON"),
    ("[" * 900_000, "line: Invalid JSON"),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("line", "start"), LARGE_LINES, ids=[start for _, start in LARGE_LINES])
def test_a_large_line_is_refused_with_a_short_reason(line: str, start: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(start)}") as error:
        parse_record(1, line.encode())
    assert len(str(error.value)) <= MAX_REASON_LENGTH


@pytest.mark.parametrize(
    "line",
    [
        '{"token": {"name": "t", "actors": ["a\\u0000"], "end_time": 1}}',
        '{"script": {"token": {"name": "t\\u0000"}, "text": "x", "end_time": 1}}',
        '{"script": {"token": {"name": "t", "source_url": "\\u0000"}, "text": "x", "end_time": 1}}',
    ],
)
def test_the_key_of_a_resource_that_a_line_refers_to_is_validated(line: str) -> None:
    with pytest.raises(ValueError, match="must not contain NUL"):
        parse_record(1, line.encode())


@pytest.mark.parametrize("line", [b"", b"  ", b"\r"])
def test_a_blank_line_has_no_record(line: bytes) -> None:
    assert parse_record(1, line) is None

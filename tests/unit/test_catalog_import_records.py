"""Lines of an import: cut right however the chunks fall, and checked by the rules."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.import_records import ActorRecord, LineSplitter, record_of


@given(content=st.binary(max_size=200), sizes=st.lists(st.integers(1, 20), min_size=1))
def test_lines_are_the_same_however_the_chunks_fall(content: bytes, sizes: list[int]) -> None:
    splitter = LineSplitter()
    lines: list[tuple[int, bytes]] = []
    rest, turn = content, 0
    while rest:
        size = sizes[turn % len(sizes)]
        lines += splitter.feed(rest[:size])
        rest, turn = rest[size:], turn + 1
    if splitter.has_rest:
        lines += splitter.rest()
    expected = content.split(b"\n")
    if not expected[-1]:
        del expected[-1]
    assert lines == list(enumerate(expected, 1))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_nonsense_is_refused_with_no_other_error(line: bytes) -> None:
    with suppress(ValueError):
        record_of(1, line)


def test_names_are_brought_into_their_composed_form() -> None:
    record = record_of(1, '{"actor": {"name": "e\u0301", "aliases": ["a\u0308"]}}'.encode())
    assert isinstance(record, ActorRecord)
    assert (record.actor.name, record.actor.aliases) == ("\u00e9", ("\u00e4",))


@pytest.mark.parametrize("line", [b"", b"  ", b"\r"])
def test_a_blank_line_says_nothing(line: bytes) -> None:
    assert record_of(1, line) is None

"""Import records: lines are split independently of the chunks, parsed and validated."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.import_records import ActorRecord, LineSplitter, parse_record


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


@pytest.mark.parametrize("line", [b"", b"  ", b"\r"])
def test_a_blank_line_has_no_record(line: bytes) -> None:
    assert parse_record(1, line) is None

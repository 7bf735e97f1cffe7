"""The form parser: it returns the file of a form, however the body is split into pieces."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import InvalidField
from services.upload.errors import IncompleteUpload
from services.upload.form import file_of_form
from services.upload.request_ids import RequestId
from services.upload.stream import Finish, RecordingStart, recording_start
from sori.upload.v1 import upload_pb2 as pb

BOUNDARY = "----line"
REQUEST_ID = RequestId("request", "192.0.2.1")
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(content: bytes, name: str = "file", file_name: str = "take.wav") -> bytes:
    disposition = f'form-data; name="{name}"; filename="{file_name}"'
    return (
        (
            f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\nContent-Type: audio/wav\r\n\r\n"
        ).encode()
        + content
        + b"\r\n"
    )


def start_of(first: pb.UploadAudioFormRequest, file_name: str) -> RecordingStart:
    return recording_start(first.token_id, file_name, REQUEST_ID)


Parsed = tuple[RecordingStart, bytes, bytes | Finish]
"""The start, the content, and the last item of the stream."""

CLOSING = f"--{BOUNDARY}--\r\n".encode()


def parse(body: bytes, cuts: list[int] | None = None, content_type: str = CONTENT_TYPE) -> Parsed:
    edges = [0, *sorted({cut % (len(body) + 1) for cut in cuts or []}), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]

    async def requests() -> AsyncIterator[pb.UploadAudioFormRequest]:
        for number, piece in enumerate(pieces):
            request = pb.UploadAudioFormRequest(token_id=7 if number == 0 else 0)
            request.form.data = piece
            if number == 0:
                request.form.content_type = content_type
            yield request

    async def collect() -> Parsed:
        file = await file_of_form(requests(), start_of)
        *chunks, finish = [item async for item in file.content]
        assert all(isinstance(chunk, bytes) for chunk in chunks)
        return file.start, b"".join(chunks), finish  # type: ignore[arg-type]

    return asyncio.run(collect())


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=30))
def test_the_file_arrives_unchanged_however_the_body_is_split(
    content: bytes, cuts: list[int]
) -> None:
    start = RecordingStart(7, "take.wav", REQUEST_ID.within(7), REQUEST_ID.client)
    assert parse(part(content) + CLOSING, cuts) == (start, content, Finish())


@given(st.integers(min_value=1, max_value=len(CLOSING) - 2))
def test_a_body_without_its_closing_boundary_is_incomplete(missing: int) -> None:
    body = part(b"x" * 50) + CLOSING
    with pytest.raises(IncompleteUpload):
        parse(body[: -missing - 2])


FRAGMENTS = (
    *(f"--{BOUNDARY}".encode(), f"--{BOUNDARY}--".encode(), b"\r\n", b"--", b"\r", b": "),
    *(b"Content-Disposition: form-data", b'; name="file"', b'; filename="a.wav"', b"X-Other: 1"),
    *(part(b"first"), part(b"x", name="note"), CLOSING),
)


@given(
    st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=50), max_size=12),
    st.lists(st.integers(min_value=0), max_size=5),
)
def test_any_body_without_a_closing_boundary_is_refused(
    fragments: list[bytes], cuts: list[int]
) -> None:
    # No fragment ends the form after this one.
    body = b"".join(fragments).replace(f"--{BOUNDARY}--".encode(), b"--other--")
    with pytest.raises((InvalidField, IncompleteUpload)):
        parse(body, cuts)


@given(
    st.lists(st.sampled_from(FRAGMENTS).filter(CLOSING.__ne__) | st.binary(max_size=50)),
    st.lists(st.integers(min_value=0), max_size=5),
)
def test_a_boundary_within_a_line_belongs_to_the_content(
    fragments: list[bytes], cuts: list[int]
) -> None:
    content = b"x".join(fragments).replace(f"\r\n--{BOUNDARY}".encode(), b"")
    _, received, last = parse(part(b"x" + content) + CLOSING, cuts)
    assert (received, last) == (b"x" + content, Finish())


@pytest.mark.parametrize(
    "file_name", ["../../etc/passwd", "a" * 4096, "녹음 🎙️.wav", "semi;colon.wav"]
)
def test_file_names_are_shortened_to_255_characters(file_name: str) -> None:
    start, _, _ = parse(part(b"x", file_name=file_name) + CLOSING)
    assert start.file_name == file_name.rpartition("\\")[2][:255]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(CLOSING, id="no part"),
        pytest.param(part(b"x", name="audio") + CLOSING, id="part with another name"),
        pytest.param(part(b"x") + part(b"y") + CLOSING, id="two files"),
        pytest.param(part(b"x") + part(b"y", name="note") + CLOSING, id="another part"),
    ],
)
def test_a_form_needs_exactly_one_part_named_file(body: bytes) -> None:
    with pytest.raises(InvalidField):
        parse(body)


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data"])
def test_a_body_with_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidField):
        parse(part(b"x") + CLOSING, content_type=content_type)

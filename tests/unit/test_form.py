"""The form parser: it returns the file of a form, however the body is split into pieces."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import InvalidField
from services.upload.chunks import Chunk
from services.upload.errors import IncompleteUpload
from services.upload.form import file_of_form
from services.upload.request_ids import RequestId
from services.upload.stream import Finish, RecordingStart, recording_start
from services.upload.wire import DESERIALIZERS
from sori.upload.v1 import upload_pb2 as pb

BOUNDARY = "----line"
REQUEST_ID = RequestId("request", "192.0.2.1")
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(content: bytes, name: str = "file", file_name: str = "take.wav") -> bytes:
    return raw_part(f'form-data; name="{name}"; filename="{file_name}"'.encode(), content)


def field(value: str, name: str = "file") -> bytes:
    """A part without a file name and a content type, as a field of a page."""
    disposition = f'Content-Disposition: form-data; name="{name}"'
    return f"--{BOUNDARY}\r\n{disposition}\r\n\r\n{value}\r\n".encode()


def raw_part(disposition: bytes, content: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: ".encode() + disposition
    return head + b"\r\nContent-Type: audio/wav\r\n\r\n" + content + b"\r\n"


def start_of(first: pb.UploadAudioFormRequest, file_name: str) -> RecordingStart:
    return recording_start(first.token_id, file_name, REQUEST_ID)


deserialize = DESERIALIZERS["/sori.upload.v1.UploadService/UploadAudioForm"]

Parsed = tuple[RecordingStart, bytes, Chunk | Finish]
"""The start, the content, and the last item of the stream."""

CLOSING = f"--{BOUNDARY}--\r\n".encode()


def parse(body: bytes, cuts: list[int] | None = None, content_type: str = CONTENT_TYPE) -> Parsed:
    edges = [0, *sorted({cut % (len(body) + 1) for cut in cuts or []}), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]

    async def requests() -> AsyncIterator[Any]:
        for number, piece in enumerate(pieces):
            request = pb.UploadAudioFormRequest(token_id=7 if number == 0 else 0)
            request.form.data = piece
            if number == 0:
                request.form.content_type = content_type
                yield request
            else:
                # As the server passes them on.
                yield deserialize(request.SerializeToString())

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
        pytest.param(field("x") + field("y") + CLOSING, id="two fields"),
    ],
)
def test_a_form_needs_exactly_one_file_named_file(body: bytes) -> None:
    with pytest.raises(InvalidField):
        parse(body)


METADATA = '{"width": 1}'
# As the widgets send them by default; each adds fields of the page on request.
WIDGETS = {
    "Uppy XHR": field("null", "relativePath") + field("take.wav", "name") + part(b"sound"),
    "FilePond": field(METADATA) + part(b"sound"),
    "FilePond, with the file first": part(b"sound") + field(METADATA),
    "Dropzone": field("3f", "dzuuid") + field("0", "dzchunkindex") + part(b"sound"),
    "a page with fields after the file": part(b"sound") + field("note", "note"),
    "a page with another file": part(b"cover", "cover", "cover.png") + part(b"sound"),
}


@pytest.mark.parametrize("body", WIDGETS.values(), ids=WIDGETS)
@given(cuts=st.lists(st.integers(min_value=0), max_size=5))
def test_fields_that_widgets_send_with_the_file_are_ignored(body: bytes, cuts: list[int]) -> None:
    start, content, last = parse(body + CLOSING, cuts)
    assert (start.file_name, content, last) == ("take.wav", b"sound", Finish())


@pytest.mark.parametrize("size", [0, 5, 64 * 1024, 64 * 1024 + 1, 3 * 1024**2])
def test_a_file_needs_no_file_name(size: int) -> None:
    start, content, last = parse(field("x" * size) + CLOSING, [1000, 100_000, 2_000_000])
    assert (start.file_name, content, last) == ("", b"x" * size, Finish())


MANY = {
    "large field": field("x" * 1024**2, "note"),
    "many fields": field("x", "note") * 100,
    "large preamble": b"x" * 1024**2 + b"\r\n",
    "large part with another name": part(b"x" * 1024**2, "audio"),
}


@pytest.mark.parametrize("others", MANY.values(), ids=MANY)
def test_what_is_sent_with_the_file_is_limited(others: bytes) -> None:
    with pytest.raises(InvalidField):
        parse(others + part(b"sound") + CLOSING)


def test_what_follows_the_file_is_limited() -> None:
    for rest in (field("x" * 1024**2, "note") + CLOSING, CLOSING + b"x" * 1024**2):
        with pytest.raises(InvalidField):
            parse(part(b"sound") + rest, [1000])


def test_the_file_may_be_larger_than_the_rest_of_the_form() -> None:
    body = field("x" * 1_000_000, "note") + part(b"x" * 2 * 1024**2) + CLOSING
    cuts = list(range(0, len(body), 100_000))
    assert len(parse(body, cuts)[1]) == 2 * 1024**2


@pytest.mark.parametrize(
    ("file_name", "charset"),
    [
        ("녹음.webm", "utf-8"),
        ("수지.webm", "cp949"),
        ("똠방각하 뷁.webm", "cp949"),
        ("レコード.wav", "shift_jis"),
        ("ひらがな.wav", "shift_jis"),
        ("prénom.wav", "latin-1"),
        ("Müller.wav", "cp1252"),
    ],
)
def test_file_names_of_old_programs_are_decoded(file_name: str, charset: str) -> None:
    disposition = f'form-data; name="file"; filename="{file_name}"'.encode(charset)
    start, content, _ = parse(raw_part(disposition, b"sound") + CLOSING)
    assert (start.file_name, content) == (file_name, b"sound")


@given(st.binary(max_size=60).filter(lambda raw: not set(raw) & set(b'\r\n"\\\0%')))
def test_no_file_name_is_refused(raw: bytes) -> None:
    disposition = b'form-data; name="file"; filename="' + raw + b'"'
    start, content, _ = parse(raw_part(disposition, b"sound") + CLOSING)
    assert content == b"sound"
    start.file_name.encode()


@pytest.mark.parametrize(
    ("parameters", "file_name"),
    [
        ("filename*=UTF-8''%EB%85%B9%EC%9D%8C.webm", "녹음.webm"),
        ("filename=\"a.webm\"; filename*=utf-8'ko'%EB%85%B9%EC%9D%8C.webm", "녹음.webm"),
        ("filename=\"a.webm\"; filename*=euc-kr''%B3%EC%C0%BD.webm", "녹음.webm"),
        ("filename=\"a.webm\"; filename*=UTF-8''%FF.webm", "\ufffd.webm"),
        ("filename=\"a.webm\"; filename*=no-charset''%62.webm", "a.webm"),
        ('filename="a.webm"; filename*=b.webm', "a.webm"),
    ],
)
def test_an_extended_file_name_is_kept(parameters: str, file_name: str) -> None:
    disposition = f'form-data; name="file"; {parameters}'.encode()
    start, content, _ = parse(raw_part(disposition, b"sound") + CLOSING)
    assert (start.file_name, content) == (file_name, b"sound")


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data"])
def test_a_body_with_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidField):
        parse(part(b"x") + CLOSING, content_type=content_type)

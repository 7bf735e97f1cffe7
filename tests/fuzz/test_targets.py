"""The fuzz targets with hostile inputs and with random ones."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sori.upload.v1 import upload_pb2 as pb
from tests.fuzz.targets import form, tus_headers, write_requests

END = b"\r\n--b--\r\n"
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'

FORMS = {
    "the boundary in the content": HEAD + b"--b --b\r\n-b\r\n--b\r\n\r\n--b--\r\n",
    "no closing boundary": HEAD + b"x" * 100_000,
    "ten thousand parts": (HEAD + b"x\r\n") * 10_000 + b"--b--\r\n",
    "a header of 1 MB": b"--b\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n\r\n--b--\r\n",
    "a form in the form": HEAD.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed\r\n\r\n")
    + b"--c\r\n\r\n--c--\r\n--b--\r\n",
    "an empty body": b"",
    "a closing boundary only": b"--b--\r\n",
    "no file name": b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
    "nul bytes": HEAD.replace(b"a.wav", b"\0\0") + b"\0" * 1000 + b"\r\n--b--\r\n",
}


@pytest.mark.parametrize(
    "pieces",
    range(4),
    ids=["1 B", "7 B", "1000 B", "64 KiB"],
)
@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_hostile_forms_cause_no_unexpected_error(body: bytes, pieces: int) -> None:
    form(bytes([0, pieces]) + (body if pieces else body[:20_000]))


@given(st.binary(max_size=2000))
@example(b"\x00\x01" + HEAD + b"x\r\n--b--\r\n")
def test_any_bytes_as_a_form_cause_no_unexpected_error(data: bytes) -> None:
    form(data)


@given(st.binary(max_size=2000), st.sampled_from([b"", END, END + HEAD, HEAD]))
def test_any_bytes_as_a_file_cause_no_unexpected_error(content: bytes, ending: bytes) -> None:
    form(b"\x00\x02" + HEAD + content + ending)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


valid_headers = st.tuples(
    *(st.integers(0, 10**18 - 1).map(str), st.just("1"), st.integers(0, 10**18 - 1).map(str)),
    st.integers(0, 2**32).map(lambda token_id: f"token_id {encoded(str(token_id).encode())}"),
    st.binary(min_size=20, max_size=20).map(lambda digest: f"sha1 {encoded(digest)}"),
    st.sampled_from(["", "partial"]) | st.uuids().map(lambda each: f"final;/uploads/{each}"),
    st.just("1.0.0"),
)
some_headers = st.tuples(valid_headers, st.sets(st.integers(0, 6))).map(
    lambda drawn: ["" if at in drawn[1] else value for at, value in enumerate(drawn[0])]
)


@given(st.binary(max_size=2000) | some_headers.map(lambda values: "\n".join(values).encode()))
def test_any_tus_headers_cause_no_unexpected_error(data: bytes) -> None:
    tus_headers(data)


first_messages = st.builds(
    pb.WriteUploadRequest,
    upload_id=st.text(max_size=50) | st.uuids().map(str),
    write_offset=st.integers(-(2**63), 2**63 - 1),
    chunk=st.binary(max_size=50),
)


@given(st.binary(max_size=200) | first_messages.map(pb.WriteUploadRequest.SerializeToString))
def test_any_first_message_causes_no_unexpected_error(data: bytes) -> None:
    write_requests(data)

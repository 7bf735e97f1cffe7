"""Bytes that were made to break uploads, and any others."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.targets import form, tus_headers, write_requests

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'

FORMS = {
    "the boundary in the content": HEAD + b"--b --b\r\n-b\r\n--b\r\n\r\n--b--\r\n",
    "no closing boundary": HEAD + b"x" * 100_000,
    "ten thousand parts": (HEAD + b"x\r\n") * 10_000 + b"--b--\r\n",
    "a header of 1 MB": b"--b\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n\r\n--b--\r\n",
    "a form in the form": HEAD.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed\r\n\r\n")
    + b"--c\r\n\r\n--c--\r\n--b--\r\n",
    "nothing": b"",
    "an end without a beginning": b"--b--\r\n",
    "no file name": b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
    "nul bytes": HEAD.replace(b"a.wav", b"\0\0") + b"\0" * 1000 + b"\r\n--b--\r\n",
}


@pytest.mark.parametrize("pieces", range(4), ids=["bytes", "sevens", "thousands", "large"])
@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_forms_that_were_made_to_break_it(body: bytes, pieces: int) -> None:
    form(bytes([0, pieces]) + (body if pieces else body[:20_000]))


@given(st.binary(max_size=2000))
@example(b"\x00\x01" + HEAD + b"x\r\n--b--\r\n")
def test_any_form(data: bytes) -> None:
    form(data)
    form(b"\x00\x02" + HEAD + data)


@given(st.binary(max_size=2000))
def test_any_headers_of_tus(data: bytes) -> None:
    tus_headers(data)


@given(st.binary(max_size=200))
def test_any_first_message(data: bytes) -> None:
    write_requests(data)

"""A SHA-256 that is saved and resumed between pieces equals that of hashlib."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.sha256 import STATE_BYTES, Sha256


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_resumed_sha256_equals_that_of_hashlib(pieces: list[bytes]) -> None:
    hasher = Sha256()
    for piece in pieces:
        hasher = Sha256(hasher.state)
        hasher.update(piece)
    assert hasher.digest() == hashlib.sha256(b"".join(pieces)).digest()


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_views_are_hashed_like_bytes(content: bytes, start: int, end: int) -> None:
    hasher = Sha256()
    hasher.update(memoryview(content)[start:end])
    assert hasher.digest() == hashlib.sha256(content[start:end]).digest()


def test_more_bytes_may_follow_a_digest() -> None:
    hasher = Sha256()
    hasher.update(b"one")
    assert hasher.digest() == hasher.digest()
    hasher.update(b"two")
    assert hasher.digest() == hashlib.sha256(b"onetwo").digest()


def test_a_copy_is_independent() -> None:
    hasher = Sha256()
    copy = hasher.copy()
    copy.update(b"more")
    assert hasher.digest() == hashlib.sha256().digest()


@pytest.mark.parametrize("size", [0, STATE_BYTES - 1, STATE_BYTES + 1])
def test_a_state_of_the_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        Sha256(bytes(size))

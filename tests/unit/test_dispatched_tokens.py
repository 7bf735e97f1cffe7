"""How long the worker keeps a token, and how many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from botocore.credentials import ReadOnlyCredentials

from services.analysis import dispatched_tokens
from services.analysis.dispatched_tokens import DispatchedToken, seconds_to_keep
from services.runtime.presigning import UrlSigner
from sori.catalog.v1 import catalog_pb2

CREDENTIALS = ReadOnlyCredentials("key", "secret", None)


def token_signed(*ages: timedelta) -> catalog_pb2.Token:
    """A token with assets whose URLs were presigned that long ago, for an hour."""
    token = catalog_pb2.Token()
    signer = UrlSigner("http://s3/sori/", "us-east-1")
    assets = token.reference_assets
    for asset, age in zip((assets.voice, assets.pitch), ages, strict=False):
        asset.url = signer.url(CREDENTIALS, "a", 3600, datetime.now(UTC) - age)
    return token


@pytest.mark.parametrize(
    ("ages", "seconds"),
    [
        pytest.param((timedelta(0),), 1800, id="new"),
        pytest.param((timedelta(0), timedelta(minutes=10)), 1200, id="the oldest URL counts"),
        pytest.param((timedelta(minutes=31),), 0, id="less than half its validity"),
        pytest.param((-timedelta(hours=5),), 1800, id="another clock"),
        pytest.param((), float("inf"), id="no assets"),
    ],
)
def test_a_token_is_kept_for_half_the_validity_of_its_urls(
    ages: tuple[timedelta, ...], seconds: float
) -> None:
    assert seconds_to_keep(token_signed(*ages)) == pytest.approx(seconds, abs=30)


def test_a_token_without_a_date_in_its_urls_is_not_kept() -> None:
    token = catalog_pb2.Token()
    token.reference_assets.voice.url = "https://example.com/voice.wav"
    assert seconds_to_keep(token) == 0


def test_the_memory_of_the_cache_is_bounded() -> None:
    entries = dispatched_tokens.new_entries()
    for token_id in range(100):
        entries[token_id] = DispatchedToken(bytes(1024**2), 1, 0.0)
    assert sum(len(token.body) for token in entries.values()) <= dispatched_tokens.CACHE_BYTES
    assert 99 in entries
    entries[100] = DispatchedToken(bytes(dispatched_tokens.CACHE_BYTES), 1, 0.0)
    assert 100 not in entries
    assert 99 in entries

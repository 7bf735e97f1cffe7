"""Cached documents of providers: how often they are fetched, and how long they are used."""

from __future__ import annotations

import asyncio

import pytest

from services.accounts.errors import ProviderUnavailable
from services.accounts.provider_documents import (
    FRESH_SECONDS,
    REFETCH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    CachedDocument,
)


class Source:
    """A provider whose document is the number of its fetches."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fetches = 0
        self.is_down = False
        self.document = CachedDocument("corp", self._fetch, lambda: self.now)

    async def _fetch(self) -> int:
        self.fetches += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise ProviderUnavailable(provider="corp")
        return self.fetches


@pytest.fixture
def source() -> Source:
    return Source()


async def test_simultaneous_calls_share_one_fetch(source: Source) -> None:
    assert await asyncio.gather(*(source.document.get() for _ in range(5))) == [1] * 5


async def test_a_document_is_fetched_again_when_it_is_old(source: Source) -> None:
    await source.document.get()
    source.now = FRESH_SECONDS - 1
    assert await source.document.get() == 1
    source.now = FRESH_SECONDS
    assert await source.document.get() == 2


async def test_an_old_document_is_used_while_the_provider_is_down(source: Source) -> None:
    await source.document.get()
    source.is_down = True
    source.now = STALE_SECONDS - 1
    assert await source.document.get() == 1


async def test_a_very_old_document_is_not_used(source: Source) -> None:
    await source.document.get()
    source.is_down = True
    source.now = STALE_SECONDS
    with pytest.raises(ProviderUnavailable):
        await source.document.get()


async def test_calls_after_a_failed_fetch_do_not_wait_for_another(source: Source) -> None:
    source.is_down = True
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await source.document.get()
    assert source.fetches == 1
    source.is_down = False
    source.now = RETRY_SECONDS
    assert await source.document.get() == 2


async def test_refetches_are_rare(source: Source) -> None:
    await source.document.get()
    assert [await source.document.refetched() for _ in range(3)] == [2, 2, 2]
    source.now = REFETCH_SECONDS
    assert await source.document.refetched() == 3


async def test_simultaneous_refetches_share_one_fetch(source: Source) -> None:
    await source.document.get()
    await asyncio.gather(*(source.document.refetched() for _ in range(5)))
    assert source.fetches == 2

"""GetToken answers from memory, but never without a change that a caller can know of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.catalog.freshness import MAX_AGE_SECONDS, wait_until_seen
from services.catalog.importer import import_file
from services.catalog.models import Actor, ReferenceAssets, Script, Token
from services.catalog.recent_changes import RecentChangesReader
from services.catalog.store import CatalogStore
from services.catalog.store.changes import PAGE_SIZE
from services.catalog.token_messages import ASSET_URL_SECONDS, ENTRY_SECONDS, TokenMessages
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.runtime.database import Database
from services.runtime.object_store import ObjectStore
from services.runtime.presigning import seconds_left
from services.runtime.settings import DatabaseSettings, ObjectStoreSettings
from services.runtime.shared_errors import TokenNotFound
from sori.catalog.v1 import catalog_pb2 as pb
from tests.integration.plans import statements_of
from tests.integration.sql import run

ASSETS = ReferenceAssets("references/1/voice.wav", "references/1/pitch.json")
CACHE_BYTES = 1024**2
RENAME = "UPDATE catalog.tokens SET name = 'new', version = version + 1"
IMPORTED = (
    b'{"token": {"name": "clip", "source_url": "", "start_time": 0, "end_time": 10,'
    b' "category": "new", "actors": ["\xec\x88\x98\xec\xa7\x80"]}}'
)


@pytest.fixture
async def objects() -> AsyncIterator[ObjectStore]:
    settings = ObjectStoreSettings(
        aws_access_key_id="none", aws_secret_access_key=SecretStr("none")
    )
    async with ObjectStore.connect(settings) as objects:
        yield objects


@pytest.fixture
def messages(catalog: CatalogStore, objects: ObjectStore) -> TokenMessages:
    changes = RecentChangesReader(catalog.changes)
    return TokenMessages(catalog.tokens, changes, objects, CACHE_BYTES)


@pytest.fixture
async def token(catalog: CatalogStore) -> Token:
    """A token with two actors and one script."""
    for name in ("수지", "Suzy"):
        await catalog.actors.create(Actor(name))
    token = await catalog.tokens.create(Token("clip", (1, 2), "", "", 0, 10, ASSETS))
    await catalog.scripts.create(Script(token.id or 0, "first", "", "", 0, 1))
    return token


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.seconds = 1.0

    def __call__(self) -> float:
        return self.seconds


async def import_lines(catalog: CatalogStore, lines: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield lines

    async for progress in import_file(chunks(), 1, catalog.imports):
        assert not progress.refusals


async def read(messages: TokenMessages, is_full: bool = True) -> pb.Token:
    """The token as GetToken shows it."""
    serialized = await messages.get(1, is_full=is_full)
    message = pb.Token.FromString(serialized.content)
    assert serialized.etag == message.etag
    return message


Change = Callable[[CatalogStore], Awaitable[object]]

CHANGES: dict[str, tuple[Change, Callable[[pb.Token], bool]]] = {
    "an update": (
        lambda catalog: catalog.tokens.update(1, "", lambda old: replace(old, name="new")),
        lambda token: token.name == "new",
    ),
    "a new script": (
        lambda catalog: catalog.scripts.create(Script(1, "second", "", "", 1, 2)),
        lambda token: len(token.scripts) == 2,
    ),
    "an update of a script": (
        lambda catalog: catalog.scripts.update(1, "", lambda old: replace(old, text="new")),
        lambda token: token.scripts[0].text == "new",
    ),
    "the deletion of a script": (
        lambda catalog: catalog.scripts.delete(1, ""),
        lambda token: not token.scripts,
    ),
    "the deletion of an actor": (
        lambda catalog: catalog.actors.delete(2, "", force=True),
        lambda token: list(token.actor_ids) == [1],
    ),
    "an import": (
        lambda catalog: import_lines(catalog, IMPORTED),
        lambda token: token.category == "new",
    ),
}


@pytest.mark.parametrize(("change", "is_new"), CHANGES.values(), ids=CHANGES)
async def test_a_changed_token_is_read_new_at_once(
    catalog: CatalogStore,
    messages: TokenMessages,
    token: Token,
    change: Change,
    is_new: Callable[[pb.Token], bool],
) -> None:
    assert not is_new(await read(messages))
    await change(catalog)
    assert is_new(await read(messages))


@pytest.mark.usefixtures("old_answers")
@pytest.mark.parametrize(("change", "is_new"), CHANGES.values(), ids=CHANGES)
async def test_another_replica_reads_a_changed_token_new_at_once(
    catalog: CatalogStore,
    messages: TokenMessages,
    token: Token,
    database_url: str,
    change: Change,
    is_new: Callable[[pb.Token], bool],
) -> None:
    assert not is_new(await read(messages))
    settings = DatabaseSettings(database_url=SecretStr(database_url))
    async with Database(settings, "test") as other:
        await change(CatalogStore(other))
    assert is_new(await read(messages))


async def test_a_deleted_token_is_not_found(
    catalog: CatalogStore, messages: TokenMessages, token: Token
) -> None:
    await read(messages)
    await read(messages, is_full=False)
    await catalog.tokens.delete(1, "", force=True)
    for is_full in (False, True):
        with pytest.raises(TokenNotFound):
            await read(messages, is_full)


async def test_a_change_waits_for_no_older_transaction(
    catalog: CatalogStore, database: Database, messages: TokenMessages, token: Token
) -> None:
    await read(messages)
    async with database.transaction() as older:
        await older.execute(text("SELECT pg_current_xact_id()"))
        await catalog.tokens.update(1, "", lambda old: replace(old, name="new"))
        assert (await read(messages)).name == "new"


async def test_a_change_that_commits_after_newer_ones_is_seen(
    catalog: CatalogStore, database: Database, messages: TokenMessages, token: Token
) -> None:
    other = await catalog.tokens.create(Token("other", (1,), "", "", 0, 10))
    await read(messages)
    async with database.transaction() as older:
        await older.execute(
            text("UPDATE catalog.tokens SET name = 'new', version = version + 1 WHERE id = 1")
        )
        await catalog.tokens.update(other.id or 0, "", lambda old: replace(old, name="new"))
        assert (await read(messages)).name == "clip"
    assert (await read(messages)).name == "new"


async def test_many_changes_at_once_are_seen(
    messages: TokenMessages, token: Token, database_url: str
) -> None:
    await read(messages)
    await asyncio.to_thread(
        run,
        database_url,
        "INSERT INTO catalog.tokens (name, category, source_url, start_time, end_time)"
        f" SELECT 'many', '', '', 0, 1 FROM generate_series(1, {PAGE_SIZE})",
        RENAME,
    )
    await wait_until_seen()
    assert (await read(messages)).name == "new"


@pytest.mark.parametrize("is_full", [False, True])
async def test_cached_tokens_cost_one_small_statement_each_time_the_check_is_too_old(
    catalog: CatalogStore, database: Database, objects: ObjectStore, token: Token, is_full: bool
) -> None:
    clock = Clock()
    changes = RecentChangesReader(catalog.changes, clock)
    messages = TokenMessages(catalog.tokens, changes, objects, CACHE_BYTES)
    await read(messages, is_full)
    for _ in range(2):
        assert await statements_of(database, read(messages, is_full)) == []
    clock.seconds += MAX_AGE_SECONDS
    ((statement, _),) = await statements_of(database, read(messages, is_full))
    assert "catalog.tokens" not in statement
    assert await statements_of(database, read(messages, is_full)) == []


async def test_a_process_sees_its_own_changes_at_once(
    catalog: CatalogStore, objects: ObjectStore, token: Token
) -> None:
    changes = RecentChangesReader(catalog.changes, Clock())
    messages = TokenMessages(catalog.tokens, changes, objects, CACHE_BYTES)
    await read(messages)
    await catalog.tokens.update(1, "", lambda old: replace(old, name="new"))
    assert (await read(messages)).name == "new"


@pytest.mark.usefixtures("old_answers")
async def test_an_answer_is_never_older_than_the_last_change_of_a_watch(
    catalog: CatalogStore,
    database: Database,
    messages: TokenMessages,
    token: Token,
    database_url: str,
) -> None:
    watch = TokenWatch(catalog.changes, database, heartbeat_seconds=0.2)
    async with asyncio.timeout(30), aclosing(watch.watch("")) as batches:
        async for batch in batches:
            if batch.cursor and not batch.is_snapshot:
                break
        changing = asyncio.create_task(asyncio.to_thread(run, database_url, RENAME))
        await read(messages)
        async for batch in batches:
            if batch.changes:
                break
        assert (await read(messages)).name == "new"
        await changing


async def test_concurrent_calls_share_the_check_for_changes(
    database: Database, messages: TokenMessages, token: Token
) -> None:
    await read(messages)
    await wait_until_seen()
    calls = asyncio.gather(*(read(messages) for _ in range(100)))
    assert len(await statements_of(database, calls)) <= 2


async def test_an_uncached_token_costs_one_statement(
    catalog: CatalogStore, database: Database, messages: TokenMessages, token: Token
) -> None:
    other = await catalog.tokens.create(Token("other", (1,), "", "", 0, 10))
    await read(messages)
    call = messages.get(other.id or 0, is_full=True)
    assert len(await statements_of(database, call)) == 1


async def test_tokens_are_read_while_their_changes_cannot_be(
    messages: TokenMessages, token: Token, database_url: str
) -> None:
    await read(messages)
    hide = "ALTER TABLE catalog.token_changes RENAME TO hidden"
    await asyncio.to_thread(
        run,
        database_url,
        f"ALTER TABLE catalog.tokens DISABLE TRIGGER USER; {hide}",
        RENAME,
    )
    await wait_until_seen()
    try:
        assert [(await read(messages)).name for _ in range(2)] == ["new", "new"]
    finally:
        show = "ALTER TABLE catalog.hidden RENAME TO token_changes"
        enable = "ALTER TABLE catalog.tokens ENABLE TRIGGER USER"
        await asyncio.to_thread(run, database_url, show, enable)


async def test_urls_of_a_cached_token_are_valid_for_an_hour(
    messages: TokenMessages, token: Token
) -> None:
    first, cached = await read(messages), await read(messages)
    assert cached == first
    for _, asset in cached.reference_assets.ListFields():
        _, validity = seconds_left(asset.url)
        assert validity - ENTRY_SECONDS >= ASSET_URL_SECONDS


async def test_views_that_a_replica_stored_are_shown(
    catalog: CatalogStore, messages: TokenMessages, token: Token
) -> None:
    counter = ViewCounter(catalog.tokens, 3600)
    counter.on_stored(messages.forget)
    assert (await read(messages)).view_count == 0
    await counter.record(1)
    await counter.flush()
    assert (await read(messages)).view_count == 1

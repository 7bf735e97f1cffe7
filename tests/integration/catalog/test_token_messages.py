"""GetToken answers from memory, and never with an older token than any replica showed before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.catalog.import_records import TokenRecord
from services.catalog.models import Actor, ReferenceAssets, Script, Token
from services.catalog.store import CatalogStore
from services.catalog.store.changes import PAGE_SIZE
from services.catalog.token_cache import ENTRY_SECONDS
from services.catalog.token_messages import ASSET_URL_SECONDS, TokenMessages
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


@pytest.fixture
async def objects() -> AsyncIterator[ObjectStore]:
    settings = ObjectStoreSettings(
        aws_access_key_id="none", aws_secret_access_key=SecretStr("none")
    )
    async with ObjectStore.connect(settings) as objects:
        yield objects


@pytest.fixture
def messages(catalog: CatalogStore, objects: ObjectStore) -> TokenMessages:
    return TokenMessages(catalog.tokens, catalog.changes, objects, CACHE_BYTES)


@pytest.fixture
async def token(catalog: CatalogStore) -> Token:
    """A token with two actors and one script."""
    for name in ("수지", "Suzy"):
        await catalog.actors.create(Actor(name))
    token = await catalog.tokens.create(Token("clip", (1, 2), "", "", 0, 10, ASSETS))
    await catalog.scripts.create(Script(token.id or 0, "first", "", "", 0, 1))
    return token


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
        lambda catalog: catalog.imports.write(
            [TokenRecord(1, Token("clip", (), "new", "", 0, 10, ASSETS), ("수지",))]
        ),
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
    await catalog.tokens.delete(1, "", force=True)
    with pytest.raises(TokenNotFound):
        await read(messages)


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
        "UPDATE catalog.tokens SET name = 'new', version = version + 1",
    )
    assert (await read(messages)).name == "new"


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_cached_token_costs_one_statement_that_reads_no_token(
    database: Database, messages: TokenMessages, token: Token, is_full: bool
) -> None:
    await read(messages, is_full)
    ((statement, _),) = await statements_of(database, read(messages, is_full))
    assert "catalog.tokens" not in statement


async def test_concurrent_calls_share_the_check_for_changes(
    database: Database, messages: TokenMessages, token: Token
) -> None:
    await read(messages)
    calls = asyncio.gather(*(read(messages) for _ in range(100)))
    # One check may have begun before the other calls came.
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
        "UPDATE catalog.tokens SET name = 'new', version = version + 1",
    )
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
    counter.on_stored(messages.forget_views)
    assert (await read(messages)).view_count == 0
    await counter.record(1)
    await counter.flush()
    assert (await read(messages)).view_count == 1

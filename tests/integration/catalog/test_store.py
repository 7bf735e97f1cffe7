"""The store of the catalog on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.catalog.errors import (
    ActorInUse,
    ActorNotFound,
    AlreadyExists,
    EtagMismatch,
    TokenInUse,
)
from services.catalog.models import Actor, Script, Token, TokenFilter, Word, etag_of
from services.catalog.store import CatalogStore, CreateOptions, Ring
from services.runtime.database import Database
from services.runtime.errors import InvalidField
from services.runtime.shared_errors import RequestIdReused, TokenNotFound

LAST = 2**31 - 1


async def some_token(catalog: CatalogStore, **fields: object) -> Token:
    actor = await catalog.actors.create(Actor(f"actor {uuid4()}"))
    token = Token("clip", (actor.id or 0,), "movie", "", 0, 10)
    return await catalog.tokens.create(replace(token, **fields))  # type: ignore[arg-type]


async def some_script(catalog: CatalogStore, token: Token, end: float = 2) -> Script:
    script = Script(token.id or 0, "안녕", "hello", "ko", 0, end, (Word("안녕", 0, 1, 0.5),))
    return await catalog.scripts.create(script)


def renamed(name: str) -> Callable[[Actor], Actor]:
    return lambda actor: replace(actor, name=name)


async def test_of_two_updates_with_the_same_etag_one_is_refused(
    catalog: CatalogStore,
) -> None:
    actor = await catalog.actors.create(Actor("a"))
    outcomes = await asyncio.gather(
        *(
            catalog.actors.update(actor.id or 0, etag_of(actor), renamed(name))
            for name in ("b", "c")
        ),
        return_exceptions=True,
    )
    (mismatch,) = [each for each in outcomes if isinstance(each, EtagMismatch)]
    current = await catalog.actors.get(actor.id or 0)
    assert mismatch.metadata["etag"] == etag_of(current)
    assert current.name in ("b", "c")


async def test_an_update_that_changes_nothing_keeps_the_etag(catalog: CatalogStore) -> None:
    actor = await catalog.actors.create(Actor("a", ("x",)))
    assert await catalog.actors.update(actor.id or 0, "", lambda same: same) == actor


async def test_concurrent_creates_with_one_request_id_create_one_actor(
    catalog: CatalogStore,
) -> None:
    options = CreateOptions(uuid4(), b"content")
    created = await asyncio.gather(*(catalog.actors.create(Actor("a"), options) for _ in range(8)))
    assert {actor.id for actor in created} == {created[0].id}
    assert len(await catalog.actors.page(10, 0)) == 1


async def test_a_request_id_with_different_content_is_refused(catalog: CatalogStore) -> None:
    options = CreateOptions(uuid4(), b"content")
    await catalog.actors.create(Actor("a"), options)
    with pytest.raises(RequestIdReused):
        await catalog.actors.create(Actor("b"), replace(options, fingerprint=b"other"))


async def test_a_request_id_expires_after_a_day(catalog: CatalogStore, database: Database) -> None:
    options = CreateOptions(uuid4(), b"content")
    await catalog.actors.create(Actor("a"), options)
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE catalog.requests SET create_time = now() - interval '25 hours'")
        )
    second = await catalog.actors.create(Actor("b"), replace(options, fingerprint=b"other"))
    assert second.name == "b"


async def test_a_failed_create_can_be_repeated(catalog: CatalogStore) -> None:
    first = await catalog.actors.create(Actor("a"))
    options = CreateOptions(uuid4(), b"content")
    with pytest.raises(AlreadyExists):
        await catalog.actors.create(Actor("a"), options)
    await catalog.actors.update(first.id or 0, "", renamed("b"))
    assert (await catalog.actors.create(Actor("a"), options)).name == "a"


async def test_validate_only_changes_nothing(catalog: CatalogStore) -> None:
    validated = await catalog.actors.create(Actor("a"), CreateOptions(validate_only=True))
    assert validated.id is None
    created = await catalog.actors.create(Actor("a"))
    await catalog.actors.update(created.id or 0, "", renamed("b"), validate_only=True)
    await catalog.actors.delete(created.id or 0, "", force=False, validate_only=True)
    assert await catalog.actors.page(10, 0) == [created]


async def test_the_revision_grows_with_changes_that_analyses_depend_on(
    catalog: CatalogStore,
) -> None:
    token = await some_token(catalog)
    token_id = token.id or 0

    async def revision() -> int:
        return (await catalog.tokens.get(token_id)).revision

    assert await revision() == 1
    script = await some_script(catalog, token)
    assert await revision() == 2
    await catalog.scripts.update(script.id or 0, "", lambda old: replace(old, translation="hi"))
    assert await revision() == 3
    await catalog.scripts.delete(script.id or 0, "")
    assert await revision() == 4
    await catalog.tokens.update(token_id, "", lambda old: replace(old, end_time=9))
    assert await revision() == 5
    voice = replace(token.reference_assets, voice="references/x")
    await catalog.tokens.update(token_id, "", lambda old: replace(old, reference_assets=voice))
    assert await revision() == 6
    await catalog.tokens.update(token_id, "", lambda old: replace(old, category="drama"))
    await catalog.tokens.add_views({token_id: 1})
    assert await revision() == 6


async def test_a_clip_cannot_become_shorter_than_its_scripts(catalog: CatalogStore) -> None:
    token = await some_token(catalog)
    await some_script(catalog, token, end=8)
    with pytest.raises(InvalidField):
        await catalog.tokens.update(token.id or 0, "", lambda old: replace(old, end_time=7))


async def test_a_script_cannot_move_to_another_token(catalog: CatalogStore) -> None:
    token, other = await some_token(catalog), await some_token(catalog)
    script = await some_script(catalog, token)
    with pytest.raises(InvalidField):
        await catalog.scripts.update(
            script.id or 0, "", lambda old: replace(old, token_id=other.id or 0)
        )


async def test_an_actor_with_tokens_is_deleted_only_with_force(catalog: CatalogStore) -> None:
    alone = await some_token(catalog)
    (actor_id,) = alone.actor_ids
    other = await catalog.actors.create(Actor("other"))
    shared = await some_token(catalog, actor_ids=(actor_id, other.id or 0))
    with pytest.raises(ActorInUse) as refused:
        await catalog.actors.delete(actor_id, "", force=False)
    assert refused.value.metadata["token_count"] == "2"
    await catalog.actors.delete(actor_id, "", force=True)
    assert (await catalog.tokens.get(shared.id or 0)).actor_ids == (other.id,)
    with pytest.raises(TokenNotFound):
        await catalog.tokens.get(alone.id or 0)


async def test_a_token_with_scripts_is_deleted_only_with_force(catalog: CatalogStore) -> None:
    token = await some_token(catalog)
    await some_script(catalog, token)
    with pytest.raises(TokenInUse):
        await catalog.tokens.delete(token.id or 0, "", force=False)
    await catalog.tokens.delete(token.id or 0, "", force=True)
    assert await catalog.scripts.page(10, 0) == []


async def test_a_batch_error_names_the_missing_ids(catalog: CatalogStore) -> None:
    actor = await catalog.actors.create(Actor("a"))
    with pytest.raises(ActorNotFound, match="8, 9"):
        await catalog.actors.get_many([actor.id or 0, 8, 9])


async def test_a_batch_error_names_at_most_50_ids(catalog: CatalogStore) -> None:
    with pytest.raises(ActorNotFound) as error:
        await catalog.actors.get_many(range(101, 1_101))
    assert error.value.metadata == {"actor_id": ", ".join(map(str, range(101, 151)))}


async def test_a_constraint_violation_becomes_an_invalid_field(catalog: CatalogStore) -> None:
    # Bypasses the validation, as a bug in it would.
    with pytest.raises(InvalidField, match=r"token.duration"):
        await some_token(catalog, end_time=601.0)
    with pytest.raises(InvalidField, match=r"actor.name_nfc"):
        await catalog.actors.create(Actor("e\u0301"))


async def test_latest_pages_neither_repeat_nor_skip_while_tokens_are_created(
    catalog: CatalogStore,
) -> None:
    existing = [(await some_token(catalog)).id for _ in range(25)]
    seen: list[int | None] = []
    last = LAST
    while page := await catalog.pages.latest(TokenFilter(), 4, last):
        seen += [token.id for token in page]
        last = page[-1].id or 0
        await some_token(catalog)
    assert seen == existing[::-1]


async def test_popular_pages_neither_repeat_nor_skip_while_tokens_are_created(
    catalog: CatalogStore,
) -> None:
    existing = [(await some_token(catalog)).id or 0 for _ in range(25)]
    await catalog.tokens.add_views({token_id: token_id % 3 for token_id in existing})
    seen: list[int] = []
    last = (LAST, LAST)
    while page := await catalog.pages.popular(TokenFilter(), 4, last):
        seen += [token.id or 0 for token in page]
        last = (page[-1].view_count, page[-1].id or 0)
        await some_token(catalog)
    assert [each for each in seen if each in existing] == sorted(
        existing, key=lambda token_id: (-(token_id % 3), -token_id)
    )


@pytest.mark.parametrize("start", [-(2**31), 0, 2**31 - 1, 12345])
async def test_shuffled_pages_contain_every_token_once(catalog: CatalogStore, start: int) -> None:
    existing = {(await some_token(catalog)).id for _ in range(25)}
    seen: list[int | None] = []
    position = Ring.begin(start)
    while page := await catalog.pages.shuffled(TokenFilter(), 4, position):
        seen += [token.id for _, token in page]
        position = page[-1][0]
    assert len(seen) == 25
    assert set(seen) == existing


async def test_filters_restrict_a_list(catalog: CatalogStore) -> None:
    film = await some_token(catalog, name="Rain", end_time=4.0)
    drama = await some_token(catalog, category="drama", name="바람")
    await some_script(catalog, drama)

    async def listed(**fields: object) -> list[int | None]:
        page = await catalog.pages.latest(TokenFilter(**fields), 10, LAST)  # type: ignore[arg-type]
        return [token.id for token in page]

    assert await listed() == [drama.id, film.id]
    assert await listed(category="movie") == [film.id]
    assert await listed(actor_id=drama.actor_ids[0]) == [drama.id]
    assert await listed(max_duration=4.0) == [film.id]
    assert await listed(text="rAi") == [film.id]
    assert await listed(text="안녕") == [drama.id]
    assert await listed(text="100%") == []


async def test_related_tokens_share_an_actor_and_come_by_views(
    catalog: CatalogStore,
) -> None:
    token = await some_token(catalog)
    first, second = [await some_token(catalog, actor_ids=token.actor_ids) for _ in range(2)]
    await some_token(catalog)
    await catalog.tokens.add_views({first.id or 0: 5})
    related = await catalog.pages.related(token.id or 0, 10, (LAST, LAST))
    assert [each.id for each in related] == [first.id, second.id]

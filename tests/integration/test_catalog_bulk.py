"""Imports and exports: idempotent, resumable, and no bad line spoils the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from services.catalog.import_records import ActorRecord
from services.catalog.importer import Progress, imported
from services.catalog.models import Actor, Script, Token, TokenFilter
from services.catalog.store import CatalogStore
from services.runtime.errors import InvalidField

Json = dict[str, Any]

TOKEN_KEY = {"name": "건축학개론", "source_url": "https://video.example/1", "start_time": 61.5}
LINES: list[Json] = [
    {"actor": {"name": "수지", "aliases": ["Suzy", "배수지"]}},
    {
        "token": {
            **TOKEN_KEY,
            "actors": ["수지"],
            "end_time": 66.0,
            "category": "movie",
            "reference_assets": {"voice": "references/x/voice.wav"},
        }
    },
    {
        "script": {
            "token": TOKEN_KEY,
            "text": "어쩌면 우린",
            "end_time": 4.5,
            "words": [{"text": "어쩌면", "start_time": 0.25, "end_time": 0.75, "probability": 0.5}],
        }
    },
]


def encoded(lines: Iterable[Json]) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


async def run(
    catalog: CatalogStore, content: bytes, first_line: int = 1, chunk_size: int = 7
) -> list[Progress]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), chunk_size):
            yield content[start : start + chunk_size]

    return [progress async for progress in imported(chunks(), first_line, catalog.imports)]


async def listed(catalog: CatalogStore) -> tuple[list[Actor], list[Token], list[Script]]:
    return (
        await catalog.actors.page(100, 0),
        await catalog.pages.latest(TokenFilter(), 100, 2**31 - 1),
        await catalog.scripts.page(100, 0),
    )


async def test_an_import_is_read_as_it_was_written(catalog: CatalogStore) -> None:
    *_, last = await run(catalog, encoded(LINES))
    assert (last.last_line, last.created, last.refused) == (3, 3, 0)
    ((actor,), (token,), (script,)) = await listed(catalog)
    assert (actor.name, actor.aliases, actor.token_count) == ("수지", ("Suzy", "배수지"), 1)
    assert token.actor_ids == (actor.id,)
    assert token.reference_assets.voice == "references/x/voice.wav"
    assert (script.text, script.words[0].probability) == ("어쩌면 우린", 0.5)


async def test_the_same_import_again_changes_nothing(catalog: CatalogStore) -> None:
    await run(catalog, encoded(LINES))
    before = await listed(catalog)
    *_, last = await run(catalog, encoded(LINES))
    assert (last.created, last.updated, last.unchanged) == (0, 0, 3)
    assert await listed(catalog) == before


async def test_what_differs_is_updated(catalog: CatalogStore) -> None:
    await run(catalog, encoded(LINES))
    changed = json.loads(json.dumps(LINES))
    changed[0]["actor"]["aliases"] = ["Bae"]
    changed[1]["token"]["category"] = "drama"
    changed[2]["script"]["words"] = []
    *_, last = await run(catalog, encoded(changed))
    assert (last.created, last.updated) == (0, 3)
    ((actor,), (token,), (script,)) = await listed(catalog)
    assert (actor.aliases, token.category, script.words) == (("Bae",), "drama", ())
    assert (actor.version, token.version, script.version) == (2, 2, 2)
    assert token.revision == 3


async def test_an_export_imports_into_an_empty_catalog_as_it_was(
    catalog: CatalogStore,
) -> None:
    await run(catalog, encoded(LINES))
    exported = b"".join([chunk async for chunk in catalog.exports.lines()])
    for token in (await listed(catalog))[1]:
        await catalog.tokens.delete(token.id or 0, "", force=True)
    await catalog.actors.delete(1, "", force=True)
    *_, last = await run(catalog, exported)
    assert (last.created, last.refused) == (3, 0)
    assert b"".join([chunk async for chunk in catalog.exports.lines()]) == exported


BAD_LINES = [
    (b"{", "line"),
    (b"[]", "line"),
    (b"{}", "one of the keys"),
    (b'{"actor": {"name": "a"}, "token": null, "x": 1}', "x: "),
    (b'{"actor": {"name": ""}}', "actor.name"),
    (b'{"actor": {"name": 3}}', "actor.name"),
    (b'{"actor": {"name": "a", "alias": []}}', "actor.alias"),
    (b'{"token": {"name": "t", "actors": ["nobody"], "end_time": 1}}', "no actor 'nobody'"),
    (b'{"token": {"name": "t", "actors": [], "end_time": 1}}', "token.actor_ids"),
    (b'{"script": {"token": {"name": "t"}, "text": "x", "end_time": 1}}', "no token 't'"),
    (b'{"script": {"token": {"name": "t"}, "text": "\xff", "end_time": 1}}', "line"),
    (b'{"actor": {"name": "a\\u0000"}}', "NUL"),
]


async def test_each_bad_line_is_reported_and_the_others_are_imported(
    catalog: CatalogStore,
) -> None:
    late = {"script": {"token": TOKEN_KEY, "text": "late", "start_time": 4.0, "end_time": 5.0}}
    content = encoded(LINES) + b"\n".join(line for line, _ in BAD_LINES) + b"\n\n" + encoded([late])
    *_, last = await run(catalog, content, chunk_size=100)
    reasons = dict(last.refusals)
    assert sorted(reasons) == [*range(4, 4 + len(BAD_LINES)), 5 + len(BAD_LINES)]
    for number, (_, reason) in enumerate(BAD_LINES, 4):
        assert reason in reasons[number]
    assert "clip's length" in reasons[5 + len(BAD_LINES)]
    assert (last.created, last.refused) == (3, len(BAD_LINES) + 1)


async def test_a_script_with_a_bad_word_is_left_out_as_a_whole(catalog: CatalogStore) -> None:
    bad = json.loads(json.dumps(LINES))
    bad[2]["script"]["words"].append({"text": "우린", "start_time": 0.1, "end_time": 0.2})
    *_, last = await run(catalog, encoded(bad))
    assert last.refusals == [(3, "script.words[1].start_time: must not be before the word ahead.")]
    assert (await listed(catalog))[2] == []


async def test_an_import_goes_on_at_any_line(catalog: CatalogStore) -> None:
    await run(catalog, encoded(LINES[:2]))
    *_, last = await run(catalog, encoded(LINES), first_line=3)
    assert (last.last_line, last.created, last.unchanged) == (3, 1, 0)


async def test_a_line_may_change_what_a_line_before_it_made(catalog: CatalogStore) -> None:
    again = {"actor": {"name": "수지", "aliases": []}}
    *_, last = await run(catalog, encoded([LINES[0], again]))
    assert (last.created, last.updated) == (1, 1)
    assert (await listed(catalog))[0][0].aliases == ()


async def test_a_line_without_end_is_refused(catalog: CatalogStore) -> None:
    with pytest.raises(InvalidField):
        await run(catalog, b"x" * (1024 * 1024 + 1), chunk_size=100_000)


async def test_a_line_that_only_the_database_refuses_is_left_out_alone(
    catalog: CatalogStore,
) -> None:
    # As if the rules had let it pass.
    good = [ActorRecord(line, Actor(f"actor {line}")) for line in range(1, 8)]
    bad = ActorRecord(8, Actor("e\u0301"))
    outcome = await catalog.imports.write([*good[:4], bad, *good[4:]])
    assert (outcome.created, outcome.refused) == (7, [(8, "breaks ck_actors_name_nfc")])

"""Imports and exports: repeatable, resumable, and a bad line does not affect the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from services.catalog.import_records import ActorRecord
from services.catalog.importer import Progress, import_file
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


async def run_import(
    catalog: CatalogStore, content: bytes, first_line: int = 1, chunk_size: int = 7
) -> list[Progress]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), chunk_size):
            yield content[start : start + chunk_size]

    return [progress async for progress in import_file(chunks(), first_line, catalog.imports)]


async def all_resources(catalog: CatalogStore) -> tuple[list[Actor], list[Token], list[Script]]:
    return (
        await catalog.actors.page(100, 0),
        await catalog.pages.latest(TokenFilter(), 100, 2**31 - 1),
        await catalog.scripts.page(100, 0),
    )


async def test_an_import_creates_the_resources_of_the_file(catalog: CatalogStore) -> None:
    *_, last = await run_import(catalog, encoded(LINES))
    assert (last.last_line, last.created, last.refused) == (3, 3, 0)
    ((actor,), (token,), (script,)) = await all_resources(catalog)
    assert (actor.name, actor.aliases, actor.token_count) == ("수지", ("Suzy", "배수지"), 1)
    assert token.actor_ids == (actor.id,)
    assert token.reference_assets.voice == "references/x/voice.wav"
    assert (script.text, script.words[0].probability) == ("어쩌면 우린", 0.5)


async def test_repeating_an_import_changes_nothing(catalog: CatalogStore) -> None:
    await run_import(catalog, encoded(LINES))
    before = await all_resources(catalog)
    *_, last = await run_import(catalog, encoded(LINES))
    assert (last.created, last.updated, last.unchanged) == (0, 0, 3)
    assert await all_resources(catalog) == before


async def test_an_import_updates_what_differs(catalog: CatalogStore) -> None:
    await run_import(catalog, encoded(LINES))
    changed = json.loads(json.dumps(LINES))
    changed[0]["actor"]["aliases"] = ["Bae"]
    changed[1]["token"]["category"] = "drama"
    changed[2]["script"]["words"] = []
    *_, last = await run_import(catalog, encoded(changed))
    assert (last.created, last.updated) == (0, 3)
    ((actor,), (token,), (script,)) = await all_resources(catalog)
    assert (actor.aliases, token.category, script.words) == (("Bae",), "drama", ())
    assert (actor.version, token.version, script.version) == (2, 2, 2)
    assert token.revision == 3


async def test_importing_an_export_restores_the_catalog(
    catalog: CatalogStore,
) -> None:
    await run_import(catalog, encoded(LINES))
    exported = b"".join([chunk async for chunk in catalog.exports.lines()])
    for token in (await all_resources(catalog))[1]:
        await catalog.tokens.delete(token.id or 0, "", force=True)
    await catalog.actors.delete(1, "", force=True)
    *_, last = await run_import(catalog, exported)
    assert (last.created, last.refused) == (3, 0)
    assert b"".join([chunk async for chunk in catalog.exports.lines()]) == exported


BAD_LINES = [
    (b"{", "line"),
    (b"[]", "line"),
    (b"{}", "exactly one of the keys"),
    (b'{"actor": {"name": "a"}, "token": null, "x": 1}', "x: "),
    (b'{"actor": {"name": ""}}', "actor.name"),
    (b'{"actor": {"name": 3}}', "actor.name"),
    (b'{"actor": {"name": "a", "alias": []}}', "actor.alias"),
    (
        b'{"token": {"name": "t", "actors": ["nobody"], "end_time": 1}}',
        "actor 'nobody' does not exist",
    ),
    (b'{"token": {"name": "t", "actors": [], "end_time": 1}}', "token.actor_ids"),
    (
        b'{"script": {"token": {"name": "t"}, "text": "x", "end_time": 1}}',
        "token 't' does not exist",
    ),
    (b'{"script": {"token": {"name": "t"}, "text": "\xff", "end_time": 1}}', "line"),
    (b'{"actor": {"name": "a\\u0000"}}', "NUL"),
]


async def test_bad_lines_are_reported_and_the_others_are_imported(
    catalog: CatalogStore,
) -> None:
    late = {"script": {"token": TOKEN_KEY, "text": "late", "start_time": 4.0, "end_time": 5.0}}
    content = encoded(LINES) + b"\n".join(line for line, _ in BAD_LINES) + b"\n\n" + encoded([late])
    *_, last = await run_import(catalog, content, chunk_size=100)
    reasons = dict(last.refusals)
    assert sorted(reasons) == [*range(4, 4 + len(BAD_LINES)), 5 + len(BAD_LINES)]
    for number, (_, reason) in enumerate(BAD_LINES, 4):
        assert reason in reasons[number]
    assert "clip's length" in reasons[5 + len(BAD_LINES)]
    assert (last.created, last.refused) == (3, len(BAD_LINES) + 1)


async def test_a_batch_ends_when_its_lines_have_many_bytes(
    catalog: CatalogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.catalog.importer.BATCH_BYTES", 1_000)
    lines = [{"actor": {"name": f"{number}{'x' * 150}"}} for number in range(20)]
    reports = await run_import(catalog, encoded(lines))
    assert (len(reports), reports[-1].created) == (4, 20)


async def test_a_script_with_a_bad_word_is_not_imported(catalog: CatalogStore) -> None:
    bad = json.loads(json.dumps(LINES))
    bad[2]["script"]["words"].append({"text": "우린", "start_time": 0.1, "end_time": 0.2})
    *_, last = await run_import(catalog, encoded(bad))
    assert last.refusals == [
        (3, "script.words[1].start_time: must not be before the start of the previous word.")
    ]
    assert (await all_resources(catalog))[2] == []


async def test_an_import_resumes_at_a_line(catalog: CatalogStore) -> None:
    await run_import(catalog, encoded(LINES[:2]))
    *_, last = await run_import(catalog, encoded(LINES), first_line=3)
    assert (last.last_line, last.created, last.unchanged) == (3, 1, 0)


async def test_a_line_may_update_the_resource_of_an_earlier_line(catalog: CatalogStore) -> None:
    again = {"actor": {"name": "수지", "aliases": []}}
    *_, last = await run_import(catalog, encoded([LINES[0], again]))
    assert (last.created, last.updated) == (1, 1)
    assert (await all_resources(catalog))[0][0].aliases == ()


async def test_a_line_that_is_too_long_is_refused(catalog: CatalogStore) -> None:
    with pytest.raises(InvalidField, match="line 1 is longer than"):
        await run_import(catalog, b"x" * (1024 * 1024 + 1), chunk_size=100_000)


async def test_a_record_that_violates_a_constraint_does_not_affect_the_others(
    catalog: CatalogStore,
) -> None:
    # Bypasses the validation, as a bug in it would.
    good = [ActorRecord(line, Actor(f"actor {line}")) for line in range(1, 8)]
    bad = ActorRecord(8, Actor("e\u0301"))
    outcome = await catalog.imports.write([*good[:4], bad, *good[4:]])
    assert (outcome.created, outcome.refused) == (7, [(8, "violates ck_actors_name_nfc")])

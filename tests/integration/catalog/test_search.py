"""Searches find actors and tokens by parts, by initials and with typos, the best match first."""

from __future__ import annotations

import random
import unicodedata

import pytest

from services.catalog.import_records import ActorRecord
from services.catalog.models import Actor, Token
from services.catalog.store import CatalogStore

SURNAMES = "김이박최정강조윤장임한오서신권황안송전홍"
SYLLABLES = "민서지수현준영은하윤도예유재성진우아혜태경동미선원"
# fmt: off
FIRST = [
    "Alexander", "Benedict", "Catherine", "Dominic", "Eleanor", "Florence", "Gabriel", "Harrison",
    "Isabella", "Jonathan", "Katharine", "Leonardo", "Margaret", "Nathaniel", "Octavia",
    "Penelope", "Quentin", "Rosamund", "Sebastian", "Theodora", "Ulysses", "Veronica", "Winston",
    "Xiomara", "Yolanda", "Zachary", "Meryl", "Idris", "Saoirse", "Timothée",
]
# fmt: on
# fmt: off
LAST = [
    "Abernathy", "Blackwood", "Cumberbatch", "DiCaprio", "Eastwood", "Fitzgerald", "Goldblum",
    "Hathaway", "Ironside", "Johansson", "Kingsley", "Lawrence", "McConaughey", "Nightingale",
    "Oldman", "Pattinson", "Quinlan", "Redmayne", "Sarandon", "Thornton", "Underwood", "Vikander",
    "Weatherby", "Yardley", "Zellweger", "Streep", "Ronan", "Chalamet", "Elba", "Winslet",
    "Ashworth", "Bellamy", "Carmichael", "Dunaway",
]
# fmt: on

JOINED = {
    "ㄳ": "ㄱㅅ",
    "ㄵ": "ㄴㅈ",
    "ㄶ": "ㄴㅎ",
    "ㄺ": "ㄹㄱ",
    "ㄻ": "ㄹㅁ",
    "ㄼ": "ㄹㅂ",
    "ㄽ": "ㄹㅅ",
    "ㄾ": "ㄹㅌ",
    "ㄿ": "ㄹㅍ",
    "ㅀ": "ㄹㅎ",
    "ㅄ": "ㅂㅅ",
}
"""Consonants that keyboards join, with the initials that were typed."""
SYLLABLE_OF = dict(zip("ㄱㄴㄹㅁㅂㅅㅈㅌㅍㅎ", "가나라마바사자타파하", strict=True))

PAGE_SIZE = 20
"""The default number of matches."""


def names(count: int) -> tuple[list[str], list[str]]:
    """Distinct Korean and Latin names, the same in every run."""
    rng = random.Random(2_000)
    korean = [s + a + b for s in SURNAMES for a in SYLLABLES for b in SYLLABLES if a != b]
    latin = [f"{first} {last}" for first in FIRST for last in LAST]
    return rng.sample(korean, count // 2), rng.sample(latin, count // 2)


def with_typo(name: str, rng: random.Random) -> str:
    """The name with one letter deleted, doubled, replaced or swapped with the next."""
    letters = list(unicodedata.normalize("NFD", name))
    position = rng.randrange(1, len(letters) - 1)
    match rng.randrange(4):
        case 0:
            del letters[position]
        case 1:
            letters.insert(position, letters[position])
        case 2:
            others = [each for each in letters if each != letters[position]]
            letters[position] = rng.choice(others)
        case _:
            letters[position], letters[position + 1] = letters[position + 1], letters[position]
    return unicodedata.normalize("NFC", "".join(letters))


@pytest.fixture
async def sample_names(catalog: CatalogStore) -> tuple[list[str], list[str]]:
    korean, latin = names(2_000)
    await catalog.imports.write(
        [ActorRecord(line, Actor(name)) for line, name in enumerate((*korean, *latin))]
    )
    return korean, latin


async def search(catalog: CatalogStore, query: str, size: int = PAGE_SIZE) -> list[str]:
    return [match.text for _, match in await catalog.search.actors(query, size)]


async def recall(catalog: CatalogStore, expected: list[str]) -> float:
    """The share of the names that a search finds in spite of a typo."""
    rng = random.Random(7)
    hits = [name in await search(catalog, with_typo(name, rng)) for name in expected]
    return sum(hits) / len(hits)


async def test_a_latin_name_with_a_typo_is_found(
    catalog: CatalogStore, sample_names: tuple[list[str], list[str]]
) -> None:
    assert await recall(catalog, sample_names[1][:300]) >= 0.98


async def test_a_korean_name_with_a_typo_is_found(
    catalog: CatalogStore, sample_names: tuple[list[str], list[str]]
) -> None:
    # Many of these names differ in a single letter.
    assert await recall(catalog, sample_names[0][:300]) >= 0.98


async def test_the_best_match_of_a_name_is_the_name(
    catalog: CatalogStore, sample_names: tuple[list[str], list[str]]
) -> None:
    for name in (*sample_names[0][:50], *sample_names[1][:50]):
        assert (await search(catalog, name, 1)) == [name]


@pytest.mark.parametrize(
    ("query", "name", "highlights"),
    [
        ("수지", "배수지", ((1, 3),)),
        ("ㅅㅈ", "배수지", ((1, 3),)),
        ("ㅂㅅㅈ", "배 수지", ((0, 1), (2, 4))),
        ("ㅂ", "배수지", ((0, 1),)),
        ("수ㅈ", "배수지", ((1, 3),)),
        ("ㄳㅎ", "김수현", ((0, 3),)),
        ("ㄳ", "김수현", ((0, 2),)),
        ("ㄻ", "라면왕", ((0, 2),)),
        ("ㅄㅈ", "배수지", ((0, 3),)),
        ("ㄳ", "ㄳ 합니다", ((0, 1),)),
        ("beyonce", "Beyoncé", ((0, 7),)),
        ("STREEP", "Meryl Streep", ((6, 12),)),
        ("meryl strep", "Meryl Streep", ((0, 10), (11, 12))),
        ("سلم", "سلمى", ((0, 3),)),
        ("👩‍🎤", "👩‍🎤", ((0, 3),)),
        ("m", "Meryl Streep", ((0, 1),)),
    ],
)
async def test_a_name_is_found_with_its_highlights(
    catalog: CatalogStore, query: str, name: str, highlights: tuple[tuple[int, int], ...]
) -> None:
    actor = await catalog.actors.create(Actor(name))
    await catalog.actors.create(Actor("Somebody Else"))
    ((found, match),) = await catalog.search.actors(query, PAGE_SIZE)
    assert (found.id, match.text) == (actor.id, name)
    assert match.highlights == highlights


@pytest.mark.parametrize("joined", JOINED, ids=JOINED.get)
async def test_initials_that_a_keyboard_joins_find_what_their_parts_find(
    catalog: CatalogStore, joined: str
) -> None:
    name = "".join(SYLLABLE_OF[initial] for initial in JOINED[joined]) + "하"
    await catalog.actors.create(Actor(name))
    await catalog.actors.create(Actor("Somebody Else"))
    for query, parts in ((joined, JOINED[joined]), (f"{joined}ㅎ", f"{JOINED[joined]}ㅎ")):
        assert await search(catalog, query) == await search(catalog, parts) == [name]


async def test_an_actor_with_two_matching_aliases_is_found_once(catalog: CatalogStore) -> None:
    actor = await catalog.actors.create(Actor("배수지", ("Suzy", "Suzy Bae")))
    ((found, match),) = await catalog.search.actors("suzy", PAGE_SIZE)
    assert (found, match.text, match.score) == (actor, "Suzy", 1)


async def test_better_matches_come_first(catalog: CatalogStore) -> None:
    for name in ("Anna Susan", "Susanne", "Susan", "Roseanne Susanson", "Suzan"):
        await catalog.actors.create(Actor(name))
    assert await search(catalog, "susan") == [
        "Susan",
        "Susanne",
        "Anna Susan",
        "Roseanne Susanson",
        "Suzan",
    ]


@pytest.mark.parametrize("query", ["100%", "a_b", "\\", "'; DROP TABLE x; --", "%"])
async def test_pattern_characters_are_literal(catalog: CatalogStore, query: str) -> None:
    await catalog.actors.create(Actor("100 percent"))
    await catalog.actors.create(Actor("axb"))
    expected = await catalog.actors.create(Actor(query))
    best, match = (await catalog.search.actors(query, PAGE_SIZE))[0]
    assert (best.id, match.score) == (expected.id, 1)


async def test_tokens_are_found_by_name_and_by_actor(catalog: CatalogStore) -> None:
    actor = await catalog.actors.create(Actor("배수지"))
    token = Token("건축학개론", (actor.id or 0,), "", "", 0, 5)
    first = await catalog.tokens.create(token)
    second = await catalog.tokens.create(token)
    await catalog.tokens.add_views({second.id or 0: 3})
    for query in ("건축학", "ㄱㅊㅎㄱㄹ", "수지"):
        found = [token.id for token, _ in await catalog.search.tokens(query, PAGE_SIZE)]
        assert found == [second.id, first.id]

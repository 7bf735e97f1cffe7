"""Search finds actors and tokens by parts, initials and with typos, the best first."""

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

FOUND_IN = 20
"""A search page: who looks for somebody reads no more than that."""


def names(count: int) -> tuple[list[str], list[str]]:
    """Korean and Latin names, none twice, the same in every run."""
    chance = random.Random(2_000)
    korean = [s + a + b for s in SURNAMES for a in SYLLABLES for b in SYLLABLES if a != b]
    latin = [f"{first} {last}" for first in FIRST for last in LAST]
    return chance.sample(korean, count // 2), chance.sample(latin, count // 2)


def with_typo(name: str, chance: random.Random) -> str:
    """The name with one letter left out, doubled, exchanged or swapped with the next."""
    letters = list(unicodedata.normalize("NFD", name))
    place = chance.randrange(1, len(letters) - 1)
    match chance.randrange(4):
        case 0:
            del letters[place]
        case 1:
            letters.insert(place, letters[place])
        case 2:
            same_kind = [each for each in letters if each != letters[place]]
            letters[place] = chance.choice(same_kind)
        case _:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return unicodedata.normalize("NFC", "".join(letters))


@pytest.fixture
async def crowd(catalog: CatalogStore) -> tuple[list[str], list[str]]:
    korean, latin = names(2_000)
    await catalog.imports.write(
        [ActorRecord(line, Actor(name)) for line, name in enumerate((*korean, *latin))]
    )
    return korean, latin


async def found(catalog: CatalogStore, query: str, size: int = FOUND_IN) -> list[str]:
    return [match.text for _, match in await catalog.search.actors(query, size)]


async def recall(catalog: CatalogStore, wanted: list[str]) -> float:
    chance = random.Random(7)
    hits = [name in await found(catalog, with_typo(name, chance)) for name in wanted]
    return sum(hits) / len(hits)


async def test_a_latin_name_with_a_typo_is_found_among_2000(
    catalog: CatalogStore, crowd: tuple[list[str], list[str]]
) -> None:
    assert await recall(catalog, crowd[1][:300]) >= 0.98


async def test_a_korean_name_with_a_wrong_letter_is_found_among_2000(
    catalog: CatalogStore, crowd: tuple[list[str], list[str]]
) -> None:
    # Three syllables of 25 make many names that are one letter apart.
    assert await recall(catalog, crowd[0][:300]) >= 0.98


async def test_every_name_is_the_first_that_is_found_for_itself(
    catalog: CatalogStore, crowd: tuple[list[str], list[str]]
) -> None:
    for name in (*crowd[0][:50], *crowd[1][:50]):
        assert (await found(catalog, name, 1)) == [name]


@pytest.mark.parametrize(
    ("query", "name", "highlights"),
    [
        ("수지", "배수지", ((1, 3),)),
        ("ㅅㅈ", "배수지", ((1, 3),)),
        ("ㅂㅅㅈ", "배 수지", ((0, 1), (2, 4))),
        ("ㅂ", "배수지", ((0, 1),)),
        ("수ㅈ", "배수지", ((1, 3),)),
        ("beyonce", "Beyoncé", ((0, 7),)),
        ("STREEP", "Meryl Streep", ((6, 12),)),
        ("meryl strep", "Meryl Streep", ((0, 10), (11, 12))),
        ("سلم", "سلمى", ((0, 3),)),
        ("👩‍🎤", "👩‍🎤", ((0, 3),)),
        ("m", "Meryl Streep", ((0, 1),)),
    ],
)
async def test_a_name_is_found_and_what_matches_is_highlighted(
    catalog: CatalogStore, query: str, name: str, highlights: tuple[tuple[int, int], ...]
) -> None:
    actor = await catalog.actors.create(Actor(name))
    await catalog.actors.create(Actor("Somebody Else"))
    ((actor_id, match),) = await catalog.search.actors(query, FOUND_IN)
    assert (actor_id, match.text) == (actor.id, name)
    assert match.highlights == highlights


async def test_an_actor_is_found_by_an_alias_once(catalog: CatalogStore) -> None:
    actor = await catalog.actors.create(Actor("배수지", ("Suzy", "Suzy Bae")))
    ((actor_id, match),) = await catalog.search.actors("suzy", FOUND_IN)
    assert (actor_id, match.text, match.score) == (actor.id, "Suzy", 1)


async def test_a_better_match_comes_first(catalog: CatalogStore) -> None:
    for name in ("Anna Susan", "Susanne", "Susan", "Roseanne Susanson", "Suzan"):
        await catalog.actors.create(Actor(name))
    assert await found(catalog, "susan") == [
        "Susan",
        "Susanne",
        "Anna Susan",
        "Roseanne Susanson",
        "Suzan",
    ]


@pytest.mark.parametrize("query", ["100%", "a_b", "\\", "'; DROP TABLE x; --", "%"])
async def test_signs_of_patterns_stand_for_themselves(catalog: CatalogStore, query: str) -> None:
    await catalog.actors.create(Actor("100 percent"))
    await catalog.actors.create(Actor("axb"))
    wanted = await catalog.actors.create(Actor(query))
    assert (await catalog.search.actors(query, FOUND_IN))[0][0] == wanted.id
    assert (await catalog.search.actors(query, FOUND_IN))[0][1].score == 1


async def test_tokens_are_found_by_their_name_and_by_their_actors(catalog: CatalogStore) -> None:
    actor = await catalog.actors.create(Actor("배수지"))
    token = Token("건축학개론", (actor.id or 0,), "", "", 0, 5)
    first = await catalog.tokens.create(token)
    second = await catalog.tokens.create(token)
    await catalog.tokens.add_views({second.id or 0: 3})
    for query in ("건축학", "ㄱㅊㅎㄱㄹ", "수지"):
        assert [each for each, _ in await catalog.search.tokens(query, FOUND_IN)] == [
            second.id,
            first.id,
        ]

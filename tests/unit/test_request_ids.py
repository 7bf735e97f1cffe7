"""A request id identifies the same request for its own client, and for nobody else."""

from __future__ import annotations

from uuid import NAMESPACE_DNS, UUID, uuid4, uuid5

import pytest

from services.runtime.ids import random_uuid7
from services.upload.request_ids import RequestId

CLIENT, STRANGER = "192.0.2.1", "198.51.100.7"
RANDOM = "6dd63e50-c168-423b-b9b2-fa4162c9abcd"
LEARNER, GUEST, OTHER_GUEST = "learner-1", "guest:first", "guest:second"
GUESSABLE = [
    "take-1",
    "1",
    "2f1c",
    str(UUID(int=0)),
    str(UUID(int=2**128 - 1)),
    "155704d4-eb4a-11f1-8456-02fc00000001",
    str(uuid5(NAMESPACE_DNS, "sori")),
]


@pytest.mark.parametrize("text", GUESSABLE)
def test_a_stranger_with_the_same_guessable_id_makes_another_request(text: str) -> None:
    own = RequestId(text, CLIENT).within(7)
    assert RequestId(text, CLIENT).within(7) == own
    assert RequestId(text, STRANGER).within(7) != own
    assert RequestId(text, CLIENT).within(8) != own


@pytest.mark.parametrize("text", GUESSABLE)
def test_a_stranger_that_sends_the_stored_id_makes_another_request(text: str) -> None:
    own = RequestId(text, CLIENT).within(7)
    assert RequestId(own, STRANGER).within(7) != own


@pytest.mark.parametrize("key", [uuid4(), random_uuid7()], ids=["version 4", "version 7"])
def test_a_random_uuid_is_the_same_request_from_any_network(key: UUID) -> None:
    spellings = [str(key), str(key).upper(), key.hex]
    stored = {
        RequestId(spelling, client).within(7)
        for spelling in spellings
        for client in (CLIENT, STRANGER)
    }
    assert stored == {str(key)}


def test_a_request_without_an_id_has_none() -> None:
    assert RequestId("", CLIENT).within(7) == ""


@pytest.mark.parametrize("text", ["take-1", "x" * 128, "d3c8942a-be85-4514-8965-9f56ff064e19"])
def test_a_stored_id_is_accepted_by_analysis(text: str) -> None:
    assert 0 < len(RequestId(text, CLIENT).within(7)) <= 128


@pytest.mark.parametrize(("text", "is_valid"), [("", True), ("a b", False), ("x" * 129, False)])
def test_an_invalid_id_is_refused(text: str, is_valid: bool) -> None:
    assert (not RequestId(text, CLIENT).violations()) == is_valid


@pytest.mark.parametrize("text", [*GUESSABLE, RANDOM])
@pytest.mark.parametrize("other", ["learner-2", GUEST, ""])
def test_an_id_of_an_account_counts_for_the_account_from_any_network(text: str, other: str) -> None:
    own = RequestId(text, CLIENT, LEARNER).within(7)
    assert RequestId(text, STRANGER, LEARNER).within(7) == own
    assert RequestId(text, CLIENT, other).within(7) != own
    assert RequestId(own, CLIENT, other).within(7) != own


@pytest.mark.parametrize("key", [uuid4(), random_uuid7()], ids=["version 4", "version 7"])
def test_a_random_uuid_of_an_account_names_one_token(key: UUID) -> None:
    # Like a random UUID of any other caller: with another token it is refused, not a new request.
    assert RequestId(str(key), CLIENT, LEARNER).within(7) == (
        RequestId(key.hex, CLIENT, LEARNER).within(8)
    )


@pytest.mark.parametrize("text", GUESSABLE)
def test_a_guest_with_the_guessable_id_of_another_makes_another_request(text: str) -> None:
    own = RequestId(text, CLIENT, GUEST).within(7)
    assert RequestId(text, STRANGER, GUEST).within(7) == own
    for other in (RequestId(text, CLIENT, OTHER_GUEST), RequestId(text, CLIENT)):
        assert other.within(7) != own


def test_a_first_request_is_repeated_with_the_secret_that_its_answer_brought() -> None:
    key = str(uuid4())
    assert RequestId(key, CLIENT, GUEST).within(7) == RequestId(key, CLIENT).within(7)

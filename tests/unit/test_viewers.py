"""Which jobs exist for a caller, and which its lists contain."""

from __future__ import annotations

import pytest

from services.analysis.viewers import Viewer
from services.runtime.callers import OPERATOR, TRUSTED, Caller, guest_owner_id
from services.runtime.shared_errors import RoleMissing

GUEST = guest_owner_id("secret")
ADDRESS = "192.0.2.1"

LEARNER_CALLER = Caller("account-a", is_account=True)
GUEST_CALLER = Caller(GUEST)
NOBODY = Caller()
OPERATOR_CALLER = Caller("account-o", frozenset({OPERATOR}), is_account=True)
CATALOG = Caller(services=frozenset({"catalog"}))


def viewer(caller: Caller, *, guests: bool = True) -> Viewer:
    return Viewer(caller, guests, ADDRESS)


@pytest.mark.parametrize("caller", [OPERATOR_CALLER, TRUSTED, CATALOG])
def test_operators_and_services_list_the_jobs_of_every_owner(caller: Caller) -> None:
    assert viewer(caller).listed_owner(None) is None
    assert viewer(caller).listed_owner("account-a") == "account-a"


@pytest.mark.parametrize(
    ("caller", "owner_id"), [(LEARNER_CALLER, "account-a"), (GUEST_CALLER, GUEST), (NOBODY, "")]
)
def test_others_list_their_own_jobs(caller: Caller, owner_id: str) -> None:
    assert viewer(caller).listed_owner(None) == owner_id
    assert viewer(caller).listed_owner(owner_id) == owner_id


@pytest.mark.parametrize("caller", [LEARNER_CALLER, GUEST_CALLER, NOBODY])
def test_others_may_not_name_another_owner(caller: Caller) -> None:
    with pytest.raises(RoleMissing):
        viewer(caller).listed_owner("account-b")


@pytest.mark.parametrize(
    ("caller", "owner_id", "expected"),
    [
        (LEARNER_CALLER, "account-a", True),
        (LEARNER_CALLER, "account-b", False),
        (GUEST_CALLER, "account-a", False),
        (NOBODY, "account-a", False),
        (OPERATOR_CALLER, "account-a", True),
        (TRUSTED, "account-a", True),
    ],
)
def test_the_jobs_of_an_account_exist_for_it_and_for_operators(
    caller: Caller, owner_id: str, expected: bool
) -> None:
    assert viewer(caller).may_use(owner_id) is expected


@pytest.mark.parametrize("owner_id", [None, guest_owner_id("other secret")])
@pytest.mark.parametrize("guests", [True, False])
def test_the_jobs_of_guests_exist_for_everyone_while_guests_are_admitted(
    owner_id: str | None, guests: bool
) -> None:
    assert viewer(LEARNER_CALLER, guests=guests).may_use(owner_id) is guests


def test_an_account_has_its_own_limits_and_others_share_those_of_their_address() -> None:
    assert viewer(LEARNER_CALLER).limited_as == "account-a"
    # Anyone can be any number of guests.
    assert viewer(GUEST_CALLER).limited_as == ADDRESS
    assert viewer(NOBODY).limited_as == ADDRESS

"""Only the gateway and certificates say who calls, and the contract says who may."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import given
from hypothesis import strategies as st

import sori.accounts.v1.accounts_pb2
import sori.analysis.v1.analysis_pb2
import sori.catalog.v1.catalog_pb2
import sori.upload.v1.tus_pb2
import sori.upload.v1.upload_pb2  # noqa: F401 (the descriptors of all services)
from services.registry import SERVICE_NAMES, SERVICES
from services.runtime.access import Rule, caller_of, rule_of
from services.runtime.callers import (
    CATALOG_EDITOR,
    MAX_OWNER_ID_LENGTH,
    OPERATOR,
    TRUSTED,
    Caller,
    guest_expiry,
    guest_owner_id,
    is_guest,
    new_guest_token,
)
from services.runtime.errors import SoriError
from services.runtime.interceptors import Context
from sori.access.v1.access_pb2 import Access

T = TypeVar("T")
Metadata = Mapping[str, str]

ACCOUNT_ID, GUEST = "9f1b7c5e-1111-4222-8333-444455556666", "ffffffff" + "x7fQ" * 10 + "-_A"
NOBODY: Metadata = {"x-sori-caller": "nobody"}
AS_GUEST: Metadata = {"x-sori-caller": "guest", "x-sori-guest-token": GUEST}
AS_LEARNER: Metadata = {"x-sori-caller": "account", "x-sori-account": ACCOUNT_ID}
AS_EDITOR: Metadata = {**AS_LEARNER, "x-sori-roles": CATALOG_EDITOR}
AS_OPERATOR: Metadata = {**AS_LEARNER, "x-sori-roles": f"{CATALOG_EDITOR} {OPERATOR}"}


@dataclass
class Call:
    """What gRPC knows of a call. certificate: the names in it; None without TLS."""

    metadata: Metadata
    certificate: Sequence[str] | None = None
    reads: int = 0

    def invocation_metadata(self) -> Iterable[tuple[str, str]]:
        return tuple(self.metadata.items())

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        self.reads += 1
        if self.certificate is None:
            return {"transport_security_type": [b"insecure"]}
        names = [name.encode() for name in self.certificate]
        return {
            "transport_security_type": [b"ssl"],
            **({"x509_subject_alternative_name": names} if names else {}),
        }


def in_a_call(function: Callable[[], T]) -> T:
    """Run something as gRPC runs a call: what it stores ends with the call."""
    return contextvars.Context().run(function)


def caller(metadata: Metadata, certificate: Sequence[str] | None = None) -> Caller:
    call: Any = Call(metadata, certificate)
    return in_a_call(lambda: caller_of(call))


CALLERS = {
    "trusted": caller({}),
    "nobody": caller(NOBODY),
    "guest": caller(AS_GUEST),
    "learner": caller(AS_LEARNER),
    "editor": caller(AS_EDITOR),
    "operator": caller(AS_OPERATOR),
    "nobody, editor": caller({**NOBODY, "x-sori-roles": CATALOG_EDITOR}),
    "nobody, operator": caller({**NOBODY, "x-sori-roles": OPERATOR}),
    "named service": caller({}, ["upload"]),
    "other service": caller({}, ["catalog"]),
    "no name": caller({}, []),
}

LEVELS = tuple(Access.keys())
OK, LOGIN, ROLE = "OK", "CREDENTIALS_MISSING", "ROLE_MISSING"
_PEOPLE = [name for name in CALLERS if name not in ("trusted", "named service")]


def outcomes(*of_people: str) -> dict[str, str]:
    """The outcomes of all callers; trusted callers and those that the rule names are admitted."""
    return {
        **dict.fromkeys(("trusted", "named service"), OK),
        **dict(zip(_PEOPLE, (*of_people, ROLE, ROLE), strict=True)),
    }


#                      nobody guest  learner editor operator nobody as editor, as operator
_LEARNERS = outcomes(OK, OK, OK, OK, OK, OK, OK)
_WITHOUT_GUESTS = outcomes(LOGIN, LOGIN, OK, OK, OK, LOGIN, OK)
_SERVICES = outcomes(*[ROLE] * 7)
EXPECTED: dict[tuple[str, bool], dict[str, str]] = {
    **{("ACCESS_PUBLIC", guests): dict.fromkeys(CALLERS, OK) for guests in (True, False)},
    **{("ACCESS_ANALYSIS_SERVER", guests): dict.fromkeys(CALLERS, OK) for guests in (True, False)},
    ("ACCESS_LEARNER", True): _LEARNERS,
    ("ACCESS_LEARNER", False): _WITHOUT_GUESTS,
    ("ACCESS_OWNER", True): _LEARNERS,
    ("ACCESS_OWNER", False): _WITHOUT_GUESTS,
    **{
        (name, guests): each
        for guests in (True, False)
        for name, each in {
            "ACCESS_ACCOUNT": outcomes(LOGIN, LOGIN, OK, OK, OK, LOGIN, LOGIN),
            "ACCESS_CATALOG_EDITOR": outcomes(LOGIN, LOGIN, ROLE, OK, OK, OK, OK),
            "ACCESS_OPERATOR": outcomes(LOGIN, LOGIN, ROLE, ROLE, OK, LOGIN, OK),
            "ACCESS_INTERNAL": _SERVICES,
            "ACCESS_UNSPECIFIED": _SERVICES,
        }.items()
    },
}


def outcome(rule: Rule, caller: Caller, *, guests: bool) -> str:
    try:
        rule.check(caller, guests=guests)
    except SoriError as error:
        return error.reason
    return OK


def test_the_table_has_every_level() -> None:
    levels = {(name, guests) for name in LEVELS for guests in (True, False)}
    assert set(EXPECTED) == levels


@pytest.mark.parametrize("guests", [True, False], ids=["guests admitted", "no guests"])
@pytest.mark.parametrize("level", LEVELS)
def test_each_caller_gets_what_the_level_allows(level: str, guests: bool) -> None:
    rule = Rule(Access.Value(level), frozenset({"upload"}))
    found = {name: outcome(rule, each, guests=guests) for name, each in CALLERS.items()}
    assert found == EXPECTED[level, guests]


class TestCaller:
    def test_a_call_without_the_gateway_is_trusted(self) -> None:
        assert caller({}) == TRUSTED

    def test_a_guest_is_known_by_its_secret(self) -> None:
        assert caller(AS_GUEST) == Caller(guest_owner_id(GUEST))
        assert is_guest(caller(AS_GUEST).owner_id)

    def test_an_account_has_its_id_and_its_roles(self) -> None:
        expected = Caller(ACCOUNT_ID, frozenset({CATALOG_EDITOR}), is_account=True)
        assert caller(AS_EDITOR) == expected

    @pytest.mark.parametrize("token", ["", "short", GUEST + "x", GUEST[:-1] + "ㄱ", "x" * 9000])
    def test_a_secret_in_another_form_identifies_nobody(self, token: str) -> None:
        assert caller({**AS_GUEST, "x-sori-guest-token": token}).is_anonymous

    @pytest.mark.parametrize("account", ["", guest_owner_id(GUEST), "guest:", "x" * 256])
    def test_an_impossible_account_is_nobody_without_roles(self, account: str) -> None:
        assert caller({**AS_OPERATOR, "x-sori-account": account}) == Caller()

    @pytest.mark.parametrize("kind", ["", "operator", "Account"])
    def test_an_unknown_kind_is_nobody_without_roles(self, kind: str) -> None:
        assert caller({**AS_OPERATOR, "x-sori-caller": kind}) == Caller()

    @pytest.mark.parametrize(
        ("names", "service"),
        [
            (["upload", "upload.sori", "upload.sori.svc.cluster.local"], "upload"),
            (["analysis-worker"], "analysis"),
            (["analysis-api"], "analysis"),
        ],
    )
    def test_a_certificate_identifies_a_service(self, names: list[str], service: str) -> None:
        assert service in caller({}, names).services

    def test_a_certificate_of_all_programs_serves_each_of_them(self) -> None:
        names = ["gateway", *SERVICE_NAMES]
        assert caller({}, names).services == set(SERVICE_NAMES)
        assert caller(AS_LEARNER, names).owner_id == ACCOUNT_ID

    def test_it_is_found_out_once_for_each_call(self) -> None:
        first, second = Call(AS_LEARNER), Call(AS_GUEST)

        def handle() -> None:
            contexts = [cast("Context", each) for each in (first, first, second)]
            assert [caller_of(each).is_account for each in contexts] == [True, True, False]

        in_a_call(handle)
        assert (first.reads, second.reads) == (1, 1)


names_of_peers = st.lists(st.sampled_from([*SERVICE_NAMES, "analysis-worker"]) | st.text())
spoofed = st.fixed_dictionaries(
    {},
    optional={
        "x-sori-caller": st.sampled_from(["nobody", "guest", "account"]) | st.text(),
        "x-sori-account": st.just(ACCOUNT_ID) | st.text(),
        "x-sori-roles": st.just(f"{CATALOG_EDITOR} {OPERATOR}") | st.text(),
        "x-sori-guest-token": st.just(GUEST) | st.text(),
    },
)


@given(spoofed, names_of_peers.filter(lambda names: "gateway" not in names))
def test_metadata_of_another_peer_than_the_gateway_are_ignored(
    metadata: Metadata, names: list[str]
) -> None:
    found = caller(metadata, names)
    assert found == caller({}, names)
    assert found == Caller(services=found.services)
    for level in (Access.ACCESS_LEARNER, Access.ACCESS_OPERATOR, Access.ACCESS_INTERNAL):
        assert outcome(Rule(level), found, guests=True) == ROLE


@given(spoofed)
def test_with_mutual_tls_metadata_make_no_caller_trusted(metadata: Metadata) -> None:
    found = caller(metadata, ["gateway"])
    assert not found.is_trusted
    assert outcome(Rule(Access.ACCESS_INTERNAL, frozenset(SERVICE_NAMES)), found, guests=True) == (
        ROLE
    )


@given(spoofed.filter(lambda metadata: "x-sori-caller" in metadata))
def test_an_owner_is_an_account_or_a_guest_and_never_both(metadata: Metadata) -> None:
    found = caller(metadata)
    assert not found.is_trusted
    assert is_guest(found.owner_id) == (bool(found.owner_id) and not found.is_account)


owners = st.sampled_from([None, "", ACCOUNT_ID, "another", guest_owner_id(GUEST), "guest:x"])


@given(owners, st.sampled_from(list(CALLERS.values())), st.booleans())
def test_a_resource_exists_for_its_owner_and_for_operators(
    owner_id: str | None, found: Caller, guests: bool
) -> None:
    is_own = bool(owner_id) and owner_id == found.owner_id
    is_shared = guests and (not owner_id or is_guest(owner_id))
    assert found.may_use(owner_id, guests=guests) == (found.is_operator or is_own or is_shared)


def rpcs() -> list[MethodDescriptor]:
    pool = descriptor_pool.Default()
    names = [name for service in SERVICES for name in service.proto_services]
    return [method for name in names for method in pool.FindServiceByName(name).methods]


@pytest.mark.parametrize("method", rpcs(), ids=lambda method: method.full_name)
def test_every_rpc_states_who_may_call_it(method: MethodDescriptor) -> None:
    rule = rule_of(f"/{method.containing_service.full_name}/{method.name}")
    assert rule.access != Access.ACCESS_UNSPECIFIED
    assert rule.callers <= {*SERVICE_NAMES, "accounts"}
    if rule.access == Access.ACCESS_INTERNAL:
        assert rule.callers


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_an_rpc_is_internal_exactly_if_the_gateway_hides_its_service(service: Any) -> None:
    pool = descriptor_pool.Default()
    for name in service.proto_services:
        found = {Rule.of(each).access for each in pool.FindServiceByName(name).methods}
        assert (found == {Access.ACCESS_INTERNAL}) == (name in service.internal), name
        assert name in service.internal or Access.ACCESS_INTERNAL not in found


EXPIRY_DIGITS = 8


def test_secrets_of_guests_are_random_and_their_ids_do_not_reveal_them() -> None:
    tokens = {new_guest_token() for _ in range(100)}
    assert len(tokens) == len({guest_owner_id(each) for each in tokens}) == 100
    secret = slice(EXPIRY_DIGITS, 2 * EXPIRY_DIGITS)
    assert not any(each[secret] in guest_owner_id(each) for each in tokens)
    assert len(guest_owner_id(GUEST)) <= MAX_OWNER_ID_LENGTH


class TestAGuestThatHasExpired:
    EXPIRED = new_guest_token(-1)

    def test_is_nobody(self) -> None:
        assert caller({"x-sori-caller": "guest", "x-sori-guest-token": self.EXPIRED}) == Caller()

    @pytest.mark.parametrize("found", CALLERS.values(), ids=CALLERS)
    def test_leaves_its_takes_to_operators(self, found: Caller) -> None:
        owner_id = guest_owner_id(self.EXPIRED)
        assert found.may_use(owner_id, guests=True) == found.is_operator


def test_the_id_of_a_guest_states_its_expiry() -> None:
    before = int(time.time())
    expiry = guest_expiry(guest_owner_id(new_guest_token(3600)))
    assert expiry is not None
    assert before + 3600 <= expiry <= time.time() + 3600
    assert guest_expiry("guest:from-before-guests-expired") is None

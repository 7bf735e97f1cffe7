"""The cookies of provider logins: only this service, this login and this time are accepted."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.login_state import (
    STATE_SECONDS,
    LoginCookies,
    LoginState,
    PendingLogin,
)
from services.accounts.sealing import Sealer

NOW = 1_800_000_000.0
COOKIES = LoginCookies(Sealer("a secret of thirty-two characters"), secure=True)


def value_of(header: str) -> str:
    return header.partition(";")[0].partition("=")[2]


@given(st.text(max_size=50), st.text(max_size=200))
def test_a_state_is_read_as_it_was_written(provider: str, return_to: str) -> None:
    state = LoginState.begin(provider, return_to, NOW)
    assert COOKIES.state_in(value_of(COOKIES.of_state(state))) == state


@given(st.text(max_size=200))
def test_invented_cookies_are_refused(value: str) -> None:
    assert COOKIES.state_in(value) is None
    assert COOKIES.pending_in(value) is None


@given(st.data())
def test_changed_cookies_are_refused(data: st.DataObject) -> None:
    value = value_of(COOKIES.of_state(LoginState.begin("corp", "/", NOW)))
    place = data.draw(st.integers(0, len(value) - 2))
    other = "A" if value[place] != "A" else "B"
    assert COOKIES.state_in(value[:place] + other + value[place + 1 :]) is None


def test_cookies_of_another_secret_are_refused() -> None:
    other = LoginCookies(Sealer("another secret of thirty-two characters"), secure=True)
    value = value_of(other.of_state(LoginState.begin("corp", "/", NOW)))
    assert COOKIES.state_in(value) is None


def test_the_cookie_of_a_login_is_no_proof_of_a_pending_login() -> None:
    state = value_of(COOKIES.of_state(LoginState.begin("corp", "/", NOW)))
    pending = value_of(COOKIES.of_pending(PendingLogin.begin("account", NOW)))
    assert COOKIES.pending_in(state) is None
    assert COOKIES.state_in(pending) is None


@pytest.mark.parametrize(
    ("provider", "seconds", "accepted"),
    [("corp", 0, True), ("corp", STATE_SECONDS, False), ("other", 0, False)],
)
def test_a_state_holds_for_its_provider_and_time(
    provider: str, seconds: int, accepted: bool
) -> None:
    state = LoginState.begin("corp", "/", NOW)
    assert state.accepts(provider, state.state, NOW + seconds) is accepted


@given(st.text(max_size=60))
def test_no_other_state_is_accepted(text: str) -> None:
    assert not LoginState.begin("corp", "/", NOW).accepts("corp", text, NOW)


def test_the_challenge_is_the_hash_of_the_verifier() -> None:
    state = LoginState.begin("corp", "/", NOW)
    digest = urlsafe_b64decode(state.challenge + "=")
    assert digest == hashlib.sha256(state.verifier.encode()).digest()


def test_two_logins_share_no_secret() -> None:
    first, second = (LoginState.begin("corp", "/", NOW) for _ in range(2))
    secrets = {first.state, first.nonce, first.verifier}
    assert not secrets & {second.state, second.nonce, second.verifier}
    assert COOKIES.state_name(first.state) != COOKIES.state_name(second.state)


def test_scripts_and_other_hosts_cannot_use_the_cookie() -> None:
    header = COOKIES.of_state(LoginState.begin("corp", "/", NOW))
    assert header.startswith("__Host-")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(header.split("; "))

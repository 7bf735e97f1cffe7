"""Sign-up over HTTP on the whole product: the mails, their links, and a lost password."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from stack.stack import Stack
from tests.e2e.product import error_info, plain_http
from tests.mails import Mailbox
from tests.stacks import new_stack

EMAIL, PASSWORD, NEW_PASSWORD = "minji@example.com", "tidal-lamp-orbit", "velvet-comet-harbor"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {"ACCOUNTS_EMAIL_VERIFICATION": "true", "GATEWAY_ANONYMOUS_ROLES": ""}
    with new_stack(tmp_path_factory.mktemp("stack"), environment) as stack:
        yield stack


@pytest.fixture
def gateway(stack: Stack) -> Iterator[httpx.Client]:
    with plain_http(stack.gateway_url, 30) as client:
        yield client


@pytest.fixture
def mailbox(stack: Stack) -> Mailbox:
    return Mailbox(stack.mail_folder)


def log_in(gateway: httpx.Client, password: str) -> httpx.Response:
    return gateway.post("/auth/login", json={"email": EMAIL, "password": password})


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, error_info(answer)["reason"]


def test_a_learner_signs_up_and_replaces_a_lost_password(
    gateway: httpx.Client, mailbox: Mailbox
) -> None:
    signed_up = gateway.post(
        "/auth/signup",
        json={"email": EMAIL, "password": PASSWORD, "name": "민지"},
        headers={"accept-language": "en"},
    )
    assert signed_up.status_code == 200
    assert signed_up.json() == {
        "message": "We sent you a mail. Open its link to finish your sign-up."
    }
    assert reason(log_in(gateway, PASSWORD)) == (403, "EMAIL_UNVERIFIED")

    token = asyncio.run(mailbox.wait(EMAIL)).token
    assert gateway.post("/auth/verify-email", json={"token": token}).status_code == 200
    replayed = gateway.post("/auth/verify-email", json={"token": token})
    assert reason(replayed) == (400, "MAIL_TOKEN_INVALID")
    tokens = log_in(gateway, PASSWORD).json()
    me = gateway.get("/auth/me", headers={"authorization": f"Bearer {tokens['access_token']}"})
    assert (me.json()["email"], me.json()["name"]) == (EMAIL, "민지")

    requested = gateway.post("/auth/request-password-reset", json={"email": EMAIL})
    assert (requested.status_code, requested.json()) == (200, {})
    reset = {"token": asyncio.run(mailbox.wait(EMAIL, 2)).token, "new_password": NEW_PASSWORD}
    assert gateway.post("/auth/reset-password", json=reset).status_code == 200
    assert reason(log_in(gateway, PASSWORD)) == (401, "CREDENTIALS_INVALID")
    assert log_in(gateway, NEW_PASSWORD).status_code == 200
    refreshed = gateway.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert reason(refreshed) == (401, "SESSION_ENDED")


def test_the_advice_for_a_refused_password_reaches_the_learner(gateway: httpx.Client) -> None:
    answer = gateway.post("/auth/signup", json={"email": EMAIL, "password": "password1!"})
    assert reason(answer) == (400, "PASSWORD_REFUSED")
    assert "많이 쓰이는 비밀번호라" in answer.text


def test_guesses_get_429_with_retry_after(gateway: httpx.Client) -> None:
    guess = {"email": "nobody@example.com", "password": "wrong-lamp-orbit"}
    answers = [gateway.post("/auth/login", json=guess) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {401, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert reason(refused) == (429, "TOO_MANY_ATTEMPTS")
    assert int(refused.headers["retry-after"]) >= 1

"""No answer tells whether an e-mail address has an account: same content, same work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from services.runtime.callers import new_guest_token
from tests.integration.accounts.sign_up.service import (
    EMAIL,
    PASSWORD,
    Service,
    refusal,
    statements,
)

UNKNOWN = "nobody@example.com"
UNVERIFIED = "jiho@example.com"

Answer = tuple[object, list[str], int]
"""What a caller gets, the statements that it cost, and the number of hashes."""


@pytest.fixture
async def known(service: Service) -> Service:
    """A service with a verified account (EMAIL) and one that is not verified."""
    await service.verified()
    await service.sign_up(UNVERIFIED)
    await service.mailbox.wait(UNVERIFIED)
    await idle(service)
    # The outbox runs statements of its own.
    await service.parts.outbox.stop()
    return service


async def idle(service: Service) -> None:
    """Wait until the outbox of the service has sent its mails."""
    while await service.queued():  # noqa: ASYNC110 (a database has no event)
        await asyncio.sleep(0.05)


async def answer(service: Service, call: Callable[[], Awaitable[Any]]) -> Answer:
    service.hasher.count = 0
    async with statements(service) as found:
        response = await call()
    return response, found, service.hasher.count


async def test_a_login_costs_and_answers_the_same_for_unknown_addresses(known: Service) -> None:
    async def failed(email: str) -> Answer:
        return await answer(
            known, lambda: refusal(known.log_in(email, password="wrong-lamp-orbit"))
        )

    right, unknown, unverified = [await failed(email) for email in (EMAIL, UNKNOWN, UNVERIFIED)]
    assert right == unknown == unverified
    assert right[2] == 1


async def test_a_login_costs_the_same_for_accounts_without_a_password(known: Service) -> None:
    await known.sql(
        "UPDATE accounts.accounts SET password_hash = NULL WHERE email = :email", email=UNVERIFIED
    )
    results = [
        await answer(known, lambda email=email: refusal(known.log_in(email, "wrong-lamp-orbit")))  # type: ignore[misc]
        for email in (UNVERIFIED, UNKNOWN, EMAIL)
    ]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "fields",
    [
        ("SignUp", {"password": PASSWORD}, 1),
        ("ResendVerification", {}, 0),
        ("RequestPasswordReset", {}, 0),
    ],
    ids=["SignUp", "ResendVerification", "RequestPasswordReset"],
)
async def test_calls_that_send_mails_cost_and_answer_the_same(
    known: Service, fields: tuple[str, dict[str, str], int]
) -> None:
    method, values, hashes = fields
    results = [
        await answer(known, lambda email=email: known.call(method, email=email, **values))  # type: ignore[misc]
        for email in (EMAIL, UNVERIFIED, UNKNOWN)
    ]
    assert results[0] == results[1] == results[2]
    assert results[0][2] == hashes


async def test_a_sign_up_of_a_guest_costs_and_answers_the_same(known: Service) -> None:
    guest = replace(known, guest_token=new_guest_token())
    results = [
        await answer(guest, lambda email=email: guest.sign_up(email))  # type: ignore[misc]
        for email in (EMAIL, UNVERIFIED, UNKNOWN)
    ]
    assert results[0] == results[1] == results[2]
    accounts = await known.sql("SELECT account_id FROM accounts.adoptions")
    assert list(map(str, accounts)) == [await known.account_id_of(UNKNOWN)]


async def test_a_change_of_the_address_answers_the_same(known: Service) -> None:
    me = known.of(await known.account_id_of(EMAIL))
    results = [
        await answer(
            known,
            lambda email=email: me.call("ChangeEmail", email=email, password=PASSWORD),  # type: ignore[misc]
        )
        for email in (UNVERIFIED, UNKNOWN)
    ]
    assert results[0] == results[1]


async def test_the_owner_of_an_address_learns_that_it_has_an_account(service: Service) -> None:
    await service.verified()
    await service.sign_up(password="another-lamp-orbit")
    mail = await service.mailbox.wait(EMAIL, 2)
    assert mail.subject == "[소리] 이미 가입된 이메일 주소예요"
    assert (await service.log_in()).access_token


async def test_nobody_gets_a_mail_at_an_address_without_an_account(service: Service) -> None:
    await service.call("RequestPasswordReset", email=UNKNOWN)
    await service.call("ResendVerification", email=UNKNOWN)
    await idle(service)
    assert service.mailbox.mails() == []

"""A stranger who signs up first with somebody's address gets nothing when the owner comes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from services.runtime.callers import guest_owner_id, new_guest_token
from tests.integration.accounts.sign_up.service import (
    EMAIL,
    PASSWORD,
    Service,
    reason,
    running,
)

STRANGERS = "crooked-crow-castle"


async def test_the_link_of_a_sign_up_gives_the_account_its_password(service: Service) -> None:
    await service.sign_up(password=STRANGERS)
    await service.sign_up()
    owners = await service.mailbox.wait(EMAIL, 2)
    await service.call("VerifyEmail", token=owners.token)
    assert (await service.log_in()).access_token
    assert await reason(service.log_in(password=STRANGERS)) == "CREDENTIALS_INVALID"


async def test_a_later_sign_up_of_a_stranger_does_not_replace_the_password(
    service: Service,
) -> None:
    await service.sign_up()
    await service.sign_up(password=STRANGERS)
    owners = await service.mailbox.wait(EMAIL)
    await service.call("VerifyEmail", token=owners.token)
    assert (await service.log_in()).access_token
    assert await reason(service.log_in(password=STRANGERS)) == "CREDENTIALS_INVALID"


async def test_a_resent_link_gives_no_password_to_a_contested_address(service: Service) -> None:
    await service.sign_up(password=STRANGERS)
    await service.sign_up()
    await service.call("ResendVerification", email=EMAIL)
    resent = await service.mailbox.wait(EMAIL, 3)
    await service.call("VerifyEmail", token=resent.token)
    for password in (PASSWORD, STRANGERS):
        assert await reason(service.log_in(password=password)) == "CREDENTIALS_INVALID"
    await service.call("RequestPasswordReset", email=EMAIL)
    reset = await service.mailbox.wait(EMAIL, 4)
    await service.call("ResetPassword", token=reset.token, new_password=PASSWORD)
    assert (await service.log_in()).access_token


async def test_a_resent_link_verifies_an_address_that_nobody_contests(service: Service) -> None:
    await service.sign_up()
    await service.call("ResendVerification", email=EMAIL)
    await service.call("VerifyEmail", token=(await service.mailbox.wait(EMAIL, 2)).token)
    assert (await service.log_in()).access_token


async def test_sessions_and_takes_of_a_stranger_do_not_stay(
    database_url: str, tmp_path: Path
) -> None:
    async with running(database_url, tmp_path, accounts_email_verification=False) as service:
        stranger = replace(service, guest_token=new_guest_token())
        owner = replace(service, guest_token=new_guest_token())
        await stranger.sign_up(password=STRANGERS)
        await owner.sign_up()
        session = await service.log_in(password=STRANGERS)
        await service.sql("UPDATE accounts.adoptions SET due_time = NULL")
        await service.call("VerifyEmail", token=(await service.mailbox.wait(EMAIL, 2)).token)
        refresh = service.call("Refresh", refresh_token=session.refresh_token)
        assert await reason(refresh) == "SESSION_ENDED"
        guests = await service.sql("SELECT guest_owner_id FROM accounts.adoptions")
        assert guests == [guest_owner_id(owner.guest_token)]


@pytest.mark.parametrize("how", ["verification", "reset"])
async def test_second_factors_of_a_stranger_do_not_stay(service: Service, how: str) -> None:
    await service.sign_up(password=STRANGERS)
    await service.sql(
        "INSERT INTO accounts.passkeys (passkey_id, account_id, credential_id, public_key)"
        " SELECT account_id, account_id, 'id', 'key' FROM accounts.accounts"
    )
    await service.sql("UPDATE accounts.accounts SET totp_secret = 'secret'")
    if how == "verification":
        await service.sign_up()
        await service.call("VerifyEmail", token=(await service.mailbox.wait(EMAIL, 2)).token)
    else:
        await service.call("RequestPasswordReset", email=EMAIL)
        token = (await service.mailbox.wait(EMAIL, 2)).token
        await service.call("ResetPassword", token=token, new_password=PASSWORD)
    assert await service.sql("SELECT passkey_id FROM accounts.passkeys") == []
    # Without a second factor, the password is enough.
    assert (await service.log_in()).access_token


async def test_a_password_reset_keeps_the_second_factors_of_the_owner(service: Service) -> None:
    await service.verified()
    await service.sql("UPDATE accounts.accounts SET totp_secret = 'secret'")
    await service.call("RequestPasswordReset", email=EMAIL)
    token = (await service.mailbox.wait(EMAIL, 2)).token
    await service.call("ResetPassword", token=token, new_password=PASSWORD)
    assert await reason(service.log_in()) == "SECOND_FACTOR_REQUIRED"


async def test_a_login_before_the_verification_survives_it(
    database_url: str, tmp_path: Path
) -> None:
    async with running(database_url, tmp_path, accounts_email_verification=False) as service:
        await service.sign_up()
        session = await service.log_in()
        await service.call("VerifyEmail", token=(await service.mailbox.wait(EMAIL)).token)
        assert (await service.call("Refresh", refresh_token=session.refresh_token)).access_token


@pytest.mark.parametrize("number", [1, 2])
async def test_two_sign_ups_at_the_same_time_create_one_account(
    service: Service, number: int
) -> None:
    await asyncio.gather(service.sign_up(), service.sign_up(password=STRANGERS))
    assert len(await service.sql("SELECT 1 FROM accounts.accounts")) == 1
    await service.mailbox.wait(EMAIL, 2)
    token = (await service.mailbox.wait(EMAIL, number)).token
    await service.call("VerifyEmail", token=token)
    accepted = []
    for password in (PASSWORD, STRANGERS):
        try:
            await service.log_in(password=password)
        except Exception:
            continue
        accepted.append(password)
    assert len(accepted) == 1

"""Links in mails: valid once, for one purpose, for a limited time."""

from __future__ import annotations

import asyncio

import grpc

from tests.integration.accounts.sign_up.service import EMAIL, Service, reason

NEW_PASSWORD = "velvet-comet-harbor"


async def reset_token(service: Service) -> str:
    number = len(service.mailbox.mails(EMAIL)) + 1
    await service.call("RequestPasswordReset", email=EMAIL)
    return (await service.mailbox.wait(EMAIL, number)).token


async def test_a_replayed_verification_is_refused(service: Service) -> None:
    await service.sign_up()
    token = (await service.mailbox.wait(EMAIL)).token
    await service.call("VerifyEmail", token=token)
    assert await reason(service.call("VerifyEmail", token=token)) == "MAIL_TOKEN_INVALID"


async def test_a_replayed_reset_is_refused(service: Service) -> None:
    await service.verified()
    token = await reset_token(service)
    await service.call("ResetPassword", token=token, new_password=NEW_PASSWORD)
    call = service.call("ResetPassword", token=token, new_password="another-lamp-orbit")
    assert await reason(call) == "MAIL_TOKEN_INVALID"
    assert (await service.log_in(password=NEW_PASSWORD)).access_token


async def test_a_reset_makes_the_other_links_of_the_account_invalid(service: Service) -> None:
    await service.verified()
    first, second = await reset_token(service), await reset_token(service)
    await service.call("ResetPassword", token=second, new_password=NEW_PASSWORD)
    call = service.call("ResetPassword", token=first, new_password="another-lamp-orbit")
    assert await reason(call) == "MAIL_TOKEN_INVALID"


async def test_an_expired_link_is_refused(service: Service) -> None:
    await service.sign_up()
    token = (await service.mailbox.wait(EMAIL)).token
    await service.sql("UPDATE accounts.mail_tokens SET expire_time = now() - interval '1 second'")
    assert await reason(service.call("VerifyEmail", token=token)) == "MAIL_TOKEN_INVALID"


async def test_a_link_works_only_for_its_purpose(service: Service) -> None:
    await service.sign_up()
    verification = (await service.mailbox.wait(EMAIL)).token
    reset = await reset_token(service)
    calls = [
        service.call("ResetPassword", token=verification, new_password=NEW_PASSWORD),
        service.call("VerifyEmail", token=reset),
    ]
    assert [await reason(call) for call in calls] == ["MAIL_TOKEN_INVALID"] * 2
    await service.call("VerifyEmail", token=verification)


async def test_an_unknown_token_is_refused_without_a_hash(service: Service) -> None:
    call = service.call("ResetPassword", token="x" * 43, new_password=NEW_PASSWORD)
    assert await reason(call) == "MAIL_TOKEN_INVALID"
    assert service.hasher.count == 0


async def test_of_many_calls_with_one_link_one_succeeds(service: Service) -> None:
    await service.verified()
    token = await reset_token(service)
    results = await asyncio.gather(
        *(
            service.call("ResetPassword", token=token, new_password=f"velvet-comet-{number}")
            for number in range(8)
        ),
        return_exceptions=True,
    )
    failures = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert len(failures) == 7
    assert {failure.code() for failure in failures} == {grpc.StatusCode.INVALID_ARGUMENT}


async def test_different_links_of_one_account_can_be_used_at_the_same_time(
    service: Service,
) -> None:
    await service.verified()
    tokens = [await reset_token(service) for _ in range(3)]
    results = await asyncio.gather(
        *(
            service.call("ResetPassword", token=token, new_password=NEW_PASSWORD)
            for token in tokens
        ),
        return_exceptions=True,
    )
    codes = [each.code() for each in results if isinstance(each, grpc.aio.AioRpcError)]
    assert codes == [grpc.StatusCode.INVALID_ARGUMENT] * 2


async def test_the_database_has_no_token_of_a_mail(service: Service) -> None:
    await service.sign_up()
    token = (await service.mailbox.wait(EMAIL)).token
    for table in ("accounts", "mail_tokens", "mails"):
        rows = await service.sql(f"SELECT row_to_json(t)::text FROM accounts.{table} t")
        assert not any(token in row for row in rows)

"""A learner's way from the sign-up to a new password."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from argon2 import PasswordHasher
from google.protobuf.field_mask_pb2 import FieldMask

from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.sign_up.service import (
    EMAIL,
    PASSWORD,
    Service,
    reason,
    refusal,
    running,
)

NEW_EMAIL, NEW_PASSWORD = "minji.kim@example.com", "velvet-comet-harbor"


async def test_a_learner_signs_up_verifies_the_address_and_logs_in(service: Service) -> None:
    response = await service.call(
        "SignUp", email=" Minji@Example.com", password=PASSWORD, name="민지"
    )
    assert response.message == "메일을 보냈어요. 메일에 있는 링크를 눌러 가입을 마쳐 주세요."
    assert await reason(service.log_in()) == "EMAIL_UNVERIFIED"
    mail = await service.mailbox.wait(EMAIL)
    assert mail.subject == "[소리] 이메일 주소를 인증해 주세요"
    await service.call("VerifyEmail", token=mail.token)
    tokens = await service.log_in()
    assert tokens.access_token
    me = await service.of(await service.account_id_of(EMAIL)).call("GetMe")
    assert (me.email, me.email_verified, me.has_password) == (EMAIL, True, True)
    assert (me.name, me.language, me.time_zone) == ("민지", "ko", "Asia/Seoul")


async def test_an_english_caller_gets_english_mails(service: Service) -> None:
    await service.call("SignUp", email=EMAIL, password=PASSWORD, language="en")
    assert (await service.mailbox.wait(EMAIL)).subject == "Verify your e-mail address for Sori"


async def test_only_the_right_password_reveals_that_the_address_is_unverified(
    service: Service,
) -> None:
    await service.sign_up()
    assert await reason(service.log_in(password="wrong-lamp-orbit")) == "CREDENTIALS_INVALID"


async def test_without_verification_a_learner_logs_in_at_once(
    database_url: str, tmp_path: Path
) -> None:
    async with running(database_url, tmp_path, accounts_email_verification=False) as service:
        await service.sign_up()
        assert (await service.log_in()).access_token


@pytest.mark.parametrize("password", ["short1", "password1!", "minji2024"])
async def test_a_guessable_password_is_refused_with_advice(service: Service, password: str) -> None:
    error = await refusal(service.sign_up(password=password))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "PASSWORD_REFUSED"
    assert password not in error.message
    assert await service.sql("SELECT 1 FROM accounts.accounts") == []


@pytest.mark.parametrize("email", ["", "minji", "minji@example.com\r\nBcc: x@example.com"])
async def test_an_invalid_address_is_refused(service: Service, email: str) -> None:
    assert await reason(service.sign_up(email=email)) == "INVALID_FIELD"


async def test_a_lost_password_is_reset(service: Service) -> None:
    account_id = await service.verified()
    await service.log_in()
    await service.call("RequestPasswordReset", email=EMAIL)
    mail = await service.mailbox.wait(EMAIL, 2)
    await service.call("ResetPassword", token=mail.token, new_password=NEW_PASSWORD)
    assert await reason(service.log_in()) == "CREDENTIALS_INVALID"
    assert (await service.log_in(password=NEW_PASSWORD)).access_token
    sessions = (await service.of(account_id).call("ListSessions")).sessions
    assert len(sessions) == 1
    assert (await service.mailbox.wait(EMAIL, 3)).subject == "[소리] 비밀번호가 바뀌었어요"


async def test_a_reset_verifies_the_address(service: Service) -> None:
    await service.sign_up()
    await service.call("RequestPasswordReset", email=EMAIL)
    mail = await service.mailbox.wait(EMAIL, 2)
    await service.call("ResetPassword", token=mail.token, new_password=NEW_PASSWORD)
    assert (await service.log_in(password=NEW_PASSWORD)).access_token


async def test_a_refused_new_password_leaves_the_link_valid(service: Service) -> None:
    await service.verified()
    await service.call("RequestPasswordReset", email=EMAIL)
    token = (await service.mailbox.wait(EMAIL, 2)).token
    call = service.call("ResetPassword", token=token, new_password="minji2024")
    assert await reason(call) == "PASSWORD_REFUSED"
    await service.call("ResetPassword", token=token, new_password=NEW_PASSWORD)


async def test_a_password_change_ends_the_other_sessions(service: Service) -> None:
    account_id = await service.verified()
    own, other = await service.log_in(), await service.log_in()
    me = service.of(account_id, own.session_id)
    await me.call("ChangePassword", current_password=PASSWORD, new_password=NEW_PASSWORD)
    await service.call("Refresh", refresh_token=own.refresh_token)
    refresh = service.call("Refresh", refresh_token=other.refresh_token)
    assert await reason(refresh) == "SESSION_ENDED"
    assert (await service.log_in(password=NEW_PASSWORD)).access_token
    assert (await service.mailbox.wait(EMAIL, 2)).subject == "[소리] 비밀번호가 바뀌었어요"


async def test_a_password_change_needs_the_present_password(service: Service) -> None:
    me = service.of(await service.verified())
    for wrong in ("", "wrong-lamp-orbit"):
        call = me.call("ChangePassword", current_password=wrong, new_password=NEW_PASSWORD)
        assert await reason(call) == "CREDENTIALS_INVALID"
    assert (await service.log_in()).access_token


async def test_an_account_without_a_password_sets_its_first_one(service: Service) -> None:
    account_id = await service.verified()
    await service.sql("UPDATE accounts.accounts SET password_hash = NULL")
    me = service.of(account_id)
    assert not (await me.call("GetMe")).has_password
    assert await reason(service.log_in(password="")) == "CREDENTIALS_INVALID"
    await me.call("ChangePassword", new_password=NEW_PASSWORD)
    assert (await service.log_in(password=NEW_PASSWORD)).access_token


async def test_the_address_changes_when_its_link_is_opened(service: Service) -> None:
    me = service.of(await service.verified())
    await me.call("ChangeEmail", email=NEW_EMAIL, password=PASSWORD)
    mail = await service.mailbox.wait(NEW_EMAIL)
    assert (await me.call("GetMe")).email == EMAIL
    await service.call("VerifyEmail", token=mail.token)
    assert (await me.call("GetMe")).email == NEW_EMAIL
    assert await reason(service.log_in()) == "CREDENTIALS_INVALID"
    assert (await service.log_in(NEW_EMAIL)).access_token
    assert (await service.mailbox.wait(EMAIL, 2)).subject == "[소리] 이메일 주소가 바뀌었어요"


async def test_links_to_the_former_address_are_invalid_after_a_change(service: Service) -> None:
    me = service.of(await service.verified())
    await service.call("RequestPasswordReset", email=EMAIL)
    reset = await service.mailbox.wait(EMAIL, 2)
    await me.call("ChangeEmail", email=NEW_EMAIL, password=PASSWORD)
    await service.call("VerifyEmail", token=(await service.mailbox.wait(NEW_EMAIL)).token)
    call = service.call("ResetPassword", token=reset.token, new_password=NEW_PASSWORD)
    assert await reason(call) == "MAIL_TOKEN_INVALID"


async def test_an_address_cannot_be_changed_to_that_of_another_account(service: Service) -> None:
    me = service.of(await service.verified())
    await me.call("ChangeEmail", email=NEW_EMAIL, password=PASSWORD)
    mail = await service.mailbox.wait(NEW_EMAIL)
    await service.verified(NEW_EMAIL)
    assert await reason(service.call("VerifyEmail", token=mail.token)) == "MAIL_TOKEN_INVALID"
    await me.call("ChangeEmail", email=NEW_EMAIL, password=PASSWORD)
    assert (
        await service.mailbox.wait(NEW_EMAIL, 3)
    ).subject == "[소리] 이미 가입된 이메일 주소예요"


async def test_a_profile_is_updated_by_its_mask(service: Service) -> None:
    me = service.of(await service.verified())
    account = pb.Account(name="김민지", language="en", time_zone="Europe/Paris", email="x@y.zz")
    updated = await me.call(
        "UpdateMe", account=account, update_mask=FieldMask(paths=["name", "time_zone", "email"])
    )
    assert (updated.name, updated.time_zone) == ("김민지", "Europe/Paris")
    assert (updated.language, updated.email) == ("ko", EMAIL)
    assert await me.call("GetMe") == updated


async def test_an_invalid_profile_changes_nothing(service: Service) -> None:
    me = service.of(await service.verified())
    call = me.call("UpdateMe", account=pb.Account(name="민지", time_zone="Mars/Olympus"))
    assert await reason(call) == "INVALID_FIELD"
    assert (await me.call("GetMe")).name == ""


async def test_a_login_renews_a_hash_with_former_parameters(service: Service) -> None:
    await service.verified()
    former = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash(PASSWORD)
    await service.sql("UPDATE accounts.accounts SET password_hash = :former", former=former)
    await service.log_in()
    (renewed,) = await service.sql("SELECT password_hash FROM accounts.accounts")
    assert not service.hasher.check_needs_rehash(renewed)
    assert (await service.log_in()).access_token


async def test_security_changes_are_in_the_audit_log(service: Service) -> None:
    account_id = await service.verified()
    me = service.of(account_id)
    await me.call("ChangePassword", current_password=PASSWORD, new_password=NEW_PASSWORD)
    entries = await service.sql(
        "SELECT action || ' ' || account_id || ' ' || address FROM accounts.audit ORDER BY entry_id"
    )
    assert entries == [
        f"verify_email {account_id} 192.0.2.1",
        f"change_password {account_id} 192.0.2.1",
    ]

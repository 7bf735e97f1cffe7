"""Passkeys: their registration, logins, the second factor, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import func, insert, select, update

from services.accounts.models import Actor, AuditEntry, Role
from services.accounts.passwords import Passwords
from services.accounts.store import AuditStore, RoleStore
from services.accounts.store.passkeys import MAX_PASSKEYS
from services.accounts.tables import accounts, passkey_challenges, passkeys, recovery_codes
from services.runtime.database import Database
from sori.accounts.v1 import accounts_pb2 as pb
from tests.authenticator import Authenticator, Json, encoded
from tests.integration.accounts.serving import Accounts, Outcome, identity, serving

ACCOUNT, OTHER = UUID(int=7), UUID(int=8)
CALLER = identity(ACCOUNT)
ORIGIN = "http://localhost:8000"
EMAIL, PASSWORD = "kim@example.com", "correct horse battery"


FEW_GUESSES = pytest.mark.parametrize(
    "service", [{"accounts_guesses_per_address": 3}], ids=["3 guesses"], indirect=True
)


@pytest.fixture
async def service(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Accounts]:
    """The service. Tests may state settings as the parameter."""
    async with serving(database, {}, **getattr(request, "param", {})) as service:
        async with database.transaction() as connection:
            await connection.execute(
                insert(accounts).values(
                    [
                        {"account_id": ACCOUNT, "email": EMAIL, "email_verified": True},
                        {"account_id": OTHER, "email": None, "email_verified": False},
                    ]
                )
            )
        yield service


@pytest.fixture
def passkey() -> Authenticator:
    return Authenticator(ORIGIN)


async def set_password(service: Accounts) -> None:
    hashed = await Passwords(service.parts.settings, service.database).hash(PASSWORD, EMAIL)
    async with service.database.transaction() as connection:
        await connection.execute(
            update(accounts).where(accounts.c.account_id == ACCOUNT).values(password_hash=hashed)
        )


def struct(content: Json) -> Struct:
    message = Struct()
    message.update(content)
    return message


async def creation_options(service: Accounts, account: UUID = ACCOUNT, **proof: Any) -> Json:
    request = pb.BeginPasskeyRegistrationRequest(**proof)
    outcome = await service.call("BeginPasskeyRegistration", request, metadata=identity(account))
    options: Json = MessageToDict(outcome.answer.public_key)
    return options


def ending(credential: Json, name: str = "") -> pb.EndPasskeyRegistrationRequest:
    return pb.EndPasskeyRegistrationRequest(credential=struct(credential), name=name)


async def register(
    service: Accounts,
    passkey: Authenticator,
    account: UUID = ACCOUNT,
    name: str = "Phone",
    **proof: Any,
) -> pb.EndPasskeyRegistrationResponse:
    options = await creation_options(service, account, **proof)
    request = ending(passkey.create(options), name)
    outcome = await service.call("EndPasskeyRegistration", request, metadata=identity(account))
    response: pb.EndPasskeyRegistrationResponse = outcome.answer
    return response


async def request_options(service: Accounts, *, second_factor: bool = False) -> Json:
    request = pb.BeginPasskeyLoginRequest(second_factor=second_factor)
    outcome = await service.call("BeginPasskeyLogin", request)
    options: Json = MessageToDict(outcome.answer.public_key)
    return options


async def second_factor(service: Accounts, passkey: Authenticator) -> Struct:
    """The answer of a passkey as a second factor."""
    return struct(passkey.get(await request_options(service, second_factor=True)))


def login(credential: Json) -> pb.EndPasskeyLoginRequest:
    return pb.EndPasskeyLoginRequest(credential=struct(credential))


async def refused_login(service: Accounts, credential: Json) -> str:
    return await service.refused("EndPasskeyLogin", login(credential))


async def test_a_passkey_logs_in_without_a_password(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    outcome = await service.call(
        "EndPasskeyLogin", login(passkey.get(await request_options(service)))
    )
    assert await service.account_of(outcome) == ACCOUNT
    assert outcome.headers["cache-control"] == "no-store"


async def test_options_ask_for_a_passkey_that_is_found_without_an_address(
    service: Accounts,
) -> None:
    options = await creation_options(service)
    assert options["rp"] == {"id": "localhost", "name": "Sori"}
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["attestation"] == "none"
    assert options["user"]["name"] == EMAIL


async def test_the_options_of_a_login_name_no_credentials(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    options = await request_options(service)
    assert not options.get("allowCredentials")
    assert options["userVerification"] == "required"


async def test_an_account_sees_its_passkeys_and_not_those_of_others(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey, name="  휴대폰 ")
    await register(service, Authenticator(ORIGIN), OTHER)
    listed = await service.call("ListPasskeys", pb.ListPasskeysRequest(), metadata=CALLER)
    assert [each.name for each in listed.answer.passkeys] == ["휴대폰"]
    assert (await service.me(ACCOUNT)).has_passkey


async def test_the_first_second_factor_comes_with_recovery_codes(
    service: Accounts, passkey: Authenticator
) -> None:
    registered = await register(service, passkey)
    assert len(registered.recovery_codes) == 10
    code = registered.recovery_codes[0]
    second = await register(service, Authenticator(ORIGIN), totp_code=code)
    assert not second.recovery_codes


async def test_a_login_with_a_password_needs_the_passkey(
    service: Accounts, passkey: Authenticator
) -> None:
    await set_password(service)
    await register(service, passkey, password=PASSWORD)
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD)
    assert await service.refused("LogIn", request) == "SECOND_FACTOR_REQUIRED"
    request.passkey.CopyFrom(await second_factor(service, passkey))
    assert await service.account_of(await service.call("LogIn", request)) == ACCOUNT


async def test_a_passkey_replaces_the_code_of_the_app(
    service: Accounts, passkey: Authenticator
) -> None:
    await set_password(service)
    secret = await service.enrol(ACCOUNT)
    code = service.code(secret, steps=1)
    assert not (await register(service, passkey, password=PASSWORD, totp_code=code)).recovery_codes
    proof = await second_factor(service, passkey)
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD, passkey=proof)
    assert await service.account_of(await service.call("LogIn", request)) == ACCOUNT


async def test_a_recovery_code_replaces_a_lost_passkey_once(
    service: Accounts, passkey: Authenticator
) -> None:
    await set_password(service)
    codes = (await register(service, passkey, password=PASSWORD)).recovery_codes
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD, totp_code=codes[0])
    assert await service.account_of(await service.call("LogIn", request)) == ACCOUNT
    assert await service.refused("LogIn", request) == "SECOND_FACTOR_REQUIRED"


async def test_a_key_without_user_verification_is_only_a_second_factor(service: Accounts) -> None:
    key = Authenticator(ORIGIN, verifies_user=False)
    await set_password(service)
    await register(service, key, password=PASSWORD)
    credential = key.get(await request_options(service))
    assert await refused_login(service, credential) == "PASSKEY_INVALID"
    proof = await second_factor(service, key)
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD, passkey=proof)
    assert await service.account_of(await service.call("LogIn", request)) == ACCOUNT


async def test_a_registration_needs_the_proof_that_a_login_needs(
    service: Accounts, passkey: Authenticator
) -> None:
    await set_password(service)
    request = pb.BeginPasskeyRegistrationRequest(password="wrong")
    rpc = "BeginPasskeyRegistration"
    assert await service.refused(rpc, request, metadata=CALLER) == "CREDENTIALS_INVALID"
    await register(service, passkey, password=PASSWORD)
    request.password = PASSWORD
    assert await service.refused(rpc, request, metadata=CALLER) == "SECOND_FACTOR_REQUIRED"
    request.passkey.CopyFrom(await second_factor(service, passkey))
    await service.call(rpc, request, metadata=CALLER)


async def test_a_passkey_of_another_account_is_no_second_factor(service: Accounts) -> None:
    own, foreign = Authenticator(ORIGIN), Authenticator(ORIGIN)
    await set_password(service)
    await register(service, own, password=PASSWORD)
    await register(service, foreign, OTHER)
    proof = await second_factor(service, foreign)
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD, passkey=proof)
    assert await service.refused("LogIn", request) == "PASSKEY_INVALID"


async def test_an_answer_is_valid_once(service: Accounts, passkey: Authenticator) -> None:
    await register(service, passkey)
    request = login(passkey.get(await request_options(service)))
    await service.call("EndPasskeyLogin", request)
    assert await service.refused("EndPasskeyLogin", request) == "PASSKEY_INVALID"


async def test_simultaneous_logins_cannot_share_an_answer(service: Accounts) -> None:
    passkey = Authenticator(ORIGIN, sign_count=None)
    await register(service, passkey)
    request = login(passkey.get(await request_options(service)))
    calls = (service.call("EndPasskeyLogin", request) for _ in range(4))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1


async def test_options_expire(service: Accounts, passkey: Authenticator) -> None:
    await register(service, passkey)
    options = await request_options(service)
    async with service.database.transaction() as connection:
        await connection.execute(update(passkey_challenges).values(expire_time=func.now()))
    assert await refused_login(service, passkey.get(options)) == "PASSKEY_INVALID"


async def test_the_options_of_one_call_do_not_serve_another(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    of_registration = await creation_options(service, passkey=await second_factor(service, passkey))
    of_second_factor = await request_options(service, second_factor=True)
    for options in (of_registration, of_second_factor):
        answer = passkey.get({"rpId": "localhost", "challenge": options["challenge"]})
        assert await refused_login(service, answer) == "PASSKEY_INVALID"


async def test_the_options_of_another_account_register_nothing(
    service: Accounts, passkey: Authenticator
) -> None:
    credential = passkey.create(await creation_options(service, OTHER))
    refused = await service.refused("EndPasskeyRegistration", ending(credential), metadata=CALLER)
    assert refused == "PASSKEY_REFUSED"


async def test_newer_options_replace_older_ones(service: Accounts, passkey: Authenticator) -> None:
    older = passkey.create(await creation_options(service))
    newer = passkey.create(await creation_options(service))
    refused = await service.refused("EndPasskeyRegistration", ending(older), metadata=CALLER)
    assert refused == "PASSKEY_REFUSED"
    await service.call("EndPasskeyRegistration", ending(newer), metadata=CALLER)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost:8001", "http://localhost.evil.example"]
)
async def test_a_page_of_another_origin_is_refused(
    service: Accounts, passkey: Authenticator, origin: str
) -> None:
    await register(service, passkey)
    answer = passkey.get(await request_options(service), origin=origin)
    assert await refused_login(service, answer) == "PASSKEY_INVALID"
    phishing = Authenticator(origin)
    options = await creation_options(service, OTHER)
    request = ending(phishing.create(options))
    refused = await service.refused("EndPasskeyRegistration", request, metadata=identity(OTHER))
    assert refused == "PASSKEY_REFUSED"


async def test_a_passkey_of_another_domain_is_refused(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    options = await request_options(service)
    answer = passkey.get({**options, "rpId": "evil.example"})
    assert await refused_login(service, answer) == "PASSKEY_INVALID"


async def test_another_key_with_the_same_id_is_refused(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    forged = Authenticator(
        ORIGIN, credential_id=passkey.credential_id, user_handle=passkey.user_handle, sign_count=9
    )
    answer = forged.get(await request_options(service))
    assert await refused_login(service, answer) == "PASSKEY_INVALID"
    # The forgery has not used up the sign count of the owner.
    await service.call("EndPasskeyLogin", login(passkey.get(await request_options(service))))


async def test_a_copied_passkey_is_noticed(service: Accounts, passkey: Authenticator) -> None:
    await register(service, passkey)
    for _ in range(2):
        await service.call("EndPasskeyLogin", login(passkey.get(await request_options(service))))
    passkey.sign_count = 1
    answer = passkey.get(await request_options(service))
    assert await refused_login(service, answer) == "PASSKEY_INVALID"
    assert (await entries(service))[0].action == "refuse_passkey"


async def test_a_passkey_that_does_not_count_logs_in_again_and_again(service: Accounts) -> None:
    passkey = Authenticator(ORIGIN, sign_count=None)
    await register(service, passkey)
    for _ in range(2):
        await service.call("EndPasskeyLogin", login(passkey.get(await request_options(service))))


async def test_a_passkey_that_states_another_account_is_refused(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    passkey.user_handle = OTHER.bytes
    answer = passkey.get(await request_options(service))
    assert await refused_login(service, answer) == "PASSKEY_INVALID"


async def test_a_passkey_belongs_to_one_account(service: Accounts, passkey: Authenticator) -> None:
    await register(service, passkey)
    request = ending(passkey.create(await creation_options(service, OTHER)))
    refused = await service.refused("EndPasskeyRegistration", request, metadata=identity(OTHER))
    assert refused == "PASSKEY_REFUSED"


async def test_an_account_has_a_limited_number_of_passkeys(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    proof = await second_factor(service, passkey)
    options = await creation_options(service, passkey=proof)
    rows = [
        {"passkey_id": uuid4(), "account_id": ACCOUNT, "credential_id": uuid4().bytes}
        for _ in range(MAX_PASSKEYS - 1)
    ]
    async with service.database.transaction() as connection:
        await connection.execute(insert(passkeys).values(public_key=b""), rows)
    request = ending(Authenticator(ORIGIN).create(options))
    rpc = "EndPasskeyRegistration"
    assert await service.refused(rpc, request, metadata=CALLER) == "TOO_MANY_PASSKEYS"
    begin = pb.BeginPasskeyRegistrationRequest(passkey=await second_factor(service, passkey))
    rpc = "BeginPasskeyRegistration"
    assert await service.refused(rpc, begin, metadata=CALLER) == "TOO_MANY_PASSKEYS"


@pytest.mark.parametrize(
    "credential",
    [
        {},
        {"id": 1},
        {"id": "aa", "rawId": "aa", "type": "public-key", "response": []},
        {"id": "aa", "rawId": "aa", "type": "public-key", "response": {"clientDataJSON": "*"}},
        {
            "id": "aa",
            "rawId": "aa",
            "type": "public-key",
            "response": {
                "clientDataJSON": encoded(b'{"challenge": 1, "origin": "\\ud800"}'),
                "attestationObject": "aa",
                "authenticatorData": "aa",
                "signature": "aa",
            },
        },
    ],
)
async def test_a_malformed_credential_is_refused(service: Accounts, credential: Json) -> None:
    assert await refused_login(service, credential) == "PASSKEY_INVALID"
    refused = await service.refused("EndPasskeyRegistration", ending(credential), metadata=CALLER)
    assert refused == "PASSKEY_REFUSED"


async def test_fields_out_of_bounds_are_named(service: Accounts, passkey: Authenticator) -> None:
    large = {"id": "a" * 20_000}
    assert await refused_login(service, large) == "INVALID_FIELD"
    credential = passkey.create(await creation_options(service))
    request = ending(credential, "n" * 101)
    refused = await service.refused("EndPasskeyRegistration", request, metadata=CALLER)
    assert refused == "INVALID_FIELD"


async def test_an_unverified_address_cannot_log_in(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    async with service.database.transaction() as connection:
        await connection.execute(update(accounts).values(email_verified=False))
    answer = passkey.get(await request_options(service))
    assert await refused_login(service, answer) == "EMAIL_UNVERIFIED"


@FEW_GUESSES
async def test_failed_logins_are_slowed_down(service: Accounts) -> None:
    reasons = [await refused_login(service, {}) for _ in range(4)]
    assert reasons == ["PASSKEY_INVALID"] * 3 + ["TOO_MANY_ATTEMPTS"]


@FEW_GUESSES
async def test_requests_for_options_are_slowed_down(service: Accounts) -> None:
    for _ in range(3):
        await request_options(service)
    refused = await service.refused("BeginPasskeyLogin", pb.BeginPasskeyLoginRequest())
    assert refused == "TOO_MANY_ATTEMPTS"


@FEW_GUESSES
async def test_a_school_that_logs_in_is_not_slowed_down(
    service: Accounts, passkey: Authenticator
) -> None:
    await register(service, passkey)
    for _ in range(5):
        await service.call("EndPasskeyLogin", login(passkey.get(await request_options(service))))


async def test_a_deletion_needs_a_second_factor(service: Accounts, passkey: Authenticator) -> None:
    passkey_id = (await register(service, passkey)).passkey.passkey_id
    request = pb.DeletePasskeyRequest(passkey_id=passkey_id)
    rpc = "DeletePasskey"
    assert await service.refused(rpc, request, metadata=CALLER) == "SECOND_FACTOR_REQUIRED"
    request.passkey.CopyFrom(await second_factor(service, passkey))
    await service.call(rpc, request, metadata=CALLER)
    assert not (await service.me(ACCOUNT)).has_passkey
    # Without a second factor there is nothing to prove, and nothing to recover.
    await service.call(rpc, pb.DeletePasskeyRequest(passkey_id=passkey_id), metadata=CALLER)
    assert not await count(service, recovery_codes)


async def test_the_recovery_codes_stay_with_the_last_second_factor(
    service: Accounts, passkey: Authenticator
) -> None:
    codes = await service.set_up_second_factor(ACCOUNT)
    passkey_id = (await register(service, passkey, totp_code=codes[0])).passkey.passkey_id
    await service.call("RemoveTotp", pb.RemoveTotpRequest(code=codes[1]), metadata=CALLER)
    assert await count(service, recovery_codes) == len(codes)
    request = pb.DeletePasskeyRequest(passkey_id=passkey_id, totp_code=codes[2])
    await service.call("DeletePasskey", request, metadata=CALLER)
    assert not await count(service, recovery_codes)


async def test_a_passkey_of_another_account_cannot_be_deleted(
    service: Accounts, passkey: Authenticator
) -> None:
    passkey_id = (await register(service, passkey, OTHER)).passkey.passkey_id
    request = pb.DeletePasskeyRequest(passkey_id=passkey_id)
    await service.call("DeletePasskey", request, metadata=CALLER)
    assert (await service.me(OTHER)).has_passkey


async def test_changes_are_in_the_audit_log(service: Accounts, passkey: Authenticator) -> None:
    registered = await register(service, passkey)
    passkey_id = registered.passkey.passkey_id
    request = pb.DeletePasskeyRequest(passkey_id=passkey_id, totp_code=registered.recovery_codes[0])
    await service.call("DeletePasskey", request, metadata=CALLER)
    logged = [(entry.action, entry.detail) for entry in await entries(service)]
    assert logged[:3] == [
        ("delete_passkey", passkey_id),
        ("use_recovery_code", ""),
        ("add_passkey", passkey_id),
    ]


async def test_an_erasure_leaves_no_passkey(service: Accounts, passkey: Authenticator) -> None:
    await register(service, passkey)
    await creation_options(service, passkey=await second_factor(service, passkey))
    await service.parts.erasures.begin(ACCOUNT, "")
    assert not await count(service, passkeys)
    assert not await count(service, passkey_challenges)
    answer = passkey.get(await request_options(service))
    assert await refused_login(service, answer) == "PASSKEY_INVALID"


@pytest.mark.parametrize("rpc", ["BeginPasskeyRegistration", "EndPasskeyRegistration"])
async def test_guests_register_no_passkeys(service: Accounts, rpc: str) -> None:
    guest = (("x-sori-caller", "guest"), ("x-sori-guest-token", "g" * 43))
    request = getattr(pb, f"{rpc}Request")()
    assert await service.refused(rpc, request, metadata=guest) == "CREDENTIALS_MISSING"


async def entries(service: Accounts) -> list[AuditEntry]:
    """The audit log of the account, the newest first."""
    return list(await AuditStore(service.database).page(10, None, str(ACCOUNT)))


async def count(service: Accounts, table: Any) -> int:
    async with service.database.transaction() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


ROLES_NEED_A_SECOND_FACTOR = pytest.mark.parametrize(
    "service", [{"accounts_roles_need_second_factor": True}], ids=["needed"], indirect=True
)


async def roles_in(service: Accounts, outcome: Outcome) -> list[str]:
    """The roles in the access token of an answer."""
    keys = KeySet.import_key_set(json.loads(service.parts.keys.public_keys()))
    claims = jwt.decode(outcome.answer.access_token, keys, algorithms=["ES256"]).claims
    return list(claims["roles"])


async def operator_logs_in(service: Accounts) -> Outcome:
    await set_password(service)
    await RoleStore(service.database).grant(ACCOUNT, Role.OPERATOR, Actor("command"))
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD)
    return await service.call("LogIn", request, metadata=(("accept-language", "en"),))


@ROLES_NEED_A_SECOND_FACTOR
async def test_roles_wait_for_a_second_factor(service: Accounts, passkey: Authenticator) -> None:
    before = await operator_logs_in(service)
    assert await roles_in(service, before) == []
    assert list(before.answer.withheld_roles) == [pb.ROLE_OPERATOR]
    assert "Set up a passkey" in before.answer.message
    await register(service, passkey, password=PASSWORD)
    request = pb.RefreshRequest(refresh_token=before.answer.refresh_token)
    after = await service.call("Refresh", request)
    assert await roles_in(service, after) == ["operator"]
    assert not after.answer.withheld_roles
    assert not after.answer.message


@ROLES_NEED_A_SECOND_FACTOR
async def test_an_authenticator_app_is_enough_for_roles(service: Accounts) -> None:
    before = await operator_logs_in(service)
    await service.enrol(ACCOUNT)
    request = pb.RefreshRequest(refresh_token=before.answer.refresh_token)
    assert await roles_in(service, await service.call("Refresh", request)) == ["operator"]


async def test_by_default_roles_need_no_second_factor(service: Accounts) -> None:
    outcome = await operator_logs_in(service)
    assert await roles_in(service, outcome) == ["operator"]
    assert not outcome.answer.withheld_roles

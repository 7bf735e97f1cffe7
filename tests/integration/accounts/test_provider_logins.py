"""Logins at a real OpenID provider (npm `oidc-provider`): the flow, attacks, linking."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import pytest
from joserfc.jwk import RSAKey
from sqlalchemy import insert, select, update

from services.accounts.provider_documents import REFETCH_SECONDS
from services.accounts.store import AccountStore
from services.accounts.tables import (
    accounts,
    adoptions,
    identities,
    mail_tokens,
    passkeys,
    sessions,
)
from services.runtime.callers import guest_owner_id, new_guest_token
from services.runtime.database import Database
from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.oidc import (
    IS_INSTALLED,
    OTHER_CLIENT_ID,
    Browser,
    OidcProvider,
    Person,
    query_of,
)
from tests.integration.accounts.serving import Accounts, Outcome, serving

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason="Node.js and npm are not installed")

KIM = {"sub": "kim", "email": "Kim@Example.com", "email_verified": True, "name": "김소리"}
GUEST_TOKEN = new_guest_token()
UNVERIFIED_KIM = {**KIM, "email_verified": False}


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    provider = OidcProvider()
    yield provider
    provider.stop()


@pytest.fixture
async def service(database: Database, provider: OidcProvider) -> AsyncIterator[Accounts]:
    plain = {
        "authorization_endpoint": f"{provider.issuer}/auth",
        "token_endpoint": f"{provider.issuer}/token",
        "profile_endpoint": f"{provider.issuer}/me",
        "client_id": "sori",
        "client_secret": "secret of sori",
        "profile_fields": {"sub": "sub", "email": "email", "name": "name"},
    }
    down = provider.settings(issuer="http://127.0.0.1:9")
    settings = {
        "corp": provider.settings(),
        "google": provider.settings(other_issuers=[]),
        "plain": plain,
        "down": down,
    }
    async with serving(database, settings) as accounts:
        yield accounts


@dataclass
class Login:
    """A login by the code flow. Tests change its steps. name: of the provider's settings."""

    service: Accounts
    provider: OidcProvider
    person: Person
    name: str = "corp"
    return_to: str = "/practice"
    metadata: tuple[tuple[str, str], ...] = ()
    cookies: dict[str, str] = field(default_factory=dict)
    authorization_changes: dict[str, str] = field(default_factory=dict)

    async def begin(self) -> str:
        """Begin; returns the URL of the provider's page."""
        begun = await self.service.call(
            "BeginProviderLogin",
            pb.BeginProviderLoginRequest(provider=self.name, return_to=self.return_to),
            metadata=self.metadata,
        )
        self.cookies.update(begun.cookies)
        url = httpx.URL(begun.headers["location"])
        return str(url.copy_merge_params(self.authorization_changes))

    def at_provider(self, url: str) -> dict[str, str]:
        """Log in at the provider; returns the parameters of the callback."""
        self.provider.choose(self.person)
        return Browser().log_in(url)

    async def end(self, callback: dict[str, str]) -> Outcome:
        request = pb.EndProviderLoginRequest(
            provider=self.name,
            code=callback.get("code", ""),
            state=callback.get("state", ""),
            error=callback.get("error", ""),
        )
        return await self.service.call(
            "EndProviderLogin", request, cookies=self.cookies, metadata=self.metadata
        )

    async def run(self) -> Outcome:
        return await self.end(self.at_provider(await self.begin()))

    async def account_id(self) -> UUID:
        """Log in; returns the account, which the next refresh proves."""
        return await self.service.account_of(await self.run())


# The flow.


async def test_a_login_returns_to_its_page_with_a_session(
    service: Accounts, provider: OidcProvider
) -> None:
    outcome = await Login(service, provider, KIM).run()
    assert outcome.headers["x-http-code"] == "302"
    assert outcome.headers["location"] == "/practice"
    account = await service.me(await service.account_of(outcome))
    assert (account.email, account.email_verified) == ("kim@example.com", True)
    assert (account.name, account.providers) == ("김소리", ("corp",))
    assert not account.has_password


async def test_the_cookie_of_the_login_is_removed_at_its_end(
    service: Accounts, provider: OidcProvider
) -> None:
    login = Login(service, provider, KIM)
    url = await login.begin()
    (name,) = login.cookies
    outcome = await login.end(login.at_provider(url))
    assert outcome.cookies[name] == ""


async def test_a_second_login_leads_to_the_same_account(
    service: Accounts, provider: OidcProvider
) -> None:
    first = await Login(service, provider, KIM).account_id()
    assert await Login(service, provider, KIM).account_id() == first


async def test_one_browser_can_log_in_in_two_tabs(
    service: Accounts, provider: OidcProvider
) -> None:
    first = Login(service, provider, KIM, return_to="/first")
    second = Login(service, provider, KIM, return_to="/second", cookies=first.cookies)
    urls = [await login.begin() for login in (first, second)]
    callbacks = [first.at_provider(url) for url in urls]
    ended = [await first.end(callbacks[0]), await second.end(callbacks[1])]
    assert [outcome.headers["location"] for outcome in ended] == ["/first", "/second"]


async def test_the_profile_of_a_plain_oauth_provider_is_read(
    service: Accounts, provider: OidcProvider
) -> None:
    account_id = await Login(service, provider, KIM, name="plain").account_id()
    account = await service.me(account_id)
    # Its settings name no field that states whether the address is verified.
    assert (account.email, account.name) == (None, "김소리")


async def test_the_takes_of_the_guest_belong_to_a_new_account(
    service: Accounts, provider: OidcProvider, database: Database
) -> None:
    guest = (("x-sori-caller", "guest"), ("x-sori-guest-token", GUEST_TOKEN))
    account_id = await Login(service, provider, KIM, metadata=guest).account_id()
    async with database.transaction() as connection:
        row = (await connection.execute(select(adoptions))).one()
    assert (row.guest_owner_id, row.account_id) == (
        guest_owner_id(GUEST_TOKEN),
        account_id,
    )


async def test_a_callback_by_post_continues_by_get(
    service: Accounts, provider: OidcProvider
) -> None:
    login = Login(service, provider, KIM)
    form = urlencode(login.at_provider(await login.begin())).encode()
    request = pb.ForwardProviderLoginRequest(provider="corp")
    request.form.data = form
    # Without cookies: browsers do not send them with a POST of another site.
    posted = await service.call("ForwardProviderLogin", request)
    assert posted.headers["x-http-code"] == "303"
    assert posted.headers["location"].startswith("/auth/corp/callback?")
    outcome = await login.end(query_of(posted.headers["location"]))
    assert outcome.headers["location"] == "/practice"


async def test_a_person_who_declines_returns_to_the_page(
    service: Accounts, provider: OidcProvider
) -> None:
    outcome = await Login(service, provider, {"declines": True}).run()
    assert outcome.headers["location"] == "/practice?login_error=access_denied"
    assert not outcome.has_session


async def test_an_account_with_a_second_factor_needs_its_code(
    service: Accounts, provider: OidcProvider
) -> None:
    account_id = await Login(service, provider, KIM).account_id()
    codes = await service.set_up_second_factor(account_id)
    outcome = await Login(service, provider, KIM).run()
    assert outcome.headers["location"] == "/practice?login=second_factor"
    assert not outcome.has_session
    wrong = pb.ConfirmLoginRequest(totp_code="wrong")
    refused = await service.refused("ConfirmLogin", wrong, cookies=outcome.cookies, own_page=True)
    assert refused == "SECOND_FACTOR_REQUIRED"
    right = pb.ConfirmLoginRequest(totp_code=codes[0], use_cookie=True)
    done = await service.call("ConfirmLogin", right, cookies=outcome.cookies, own_page=True)
    assert await service.account_of(done) == account_id


async def test_a_login_with_a_second_factor_cannot_be_confirmed_without_its_cookie(
    service: Accounts,
) -> None:
    request = pb.ConfirmLoginRequest(totp_code="123456")
    assert await service.refused("ConfirmLogin", request, own_page=True) == "LOGIN_STATE_INVALID"


# Attacks on the flow.


@pytest.mark.parametrize(
    "page",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"],
)
async def test_a_login_never_returns_to_a_foreign_page(service: Accounts, page: str) -> None:
    request = pb.BeginProviderLoginRequest(provider="corp", return_to=page)
    assert await service.refused("BeginProviderLogin", request) == "INVALID_FIELD"


async def test_a_callback_in_another_browser_is_refused(
    service: Accounts, provider: OidcProvider
) -> None:
    login = Login(service, provider, KIM)
    callback = login.at_provider(await login.begin())
    login.cookies.clear()
    assert await service.reason(login.end(callback)) == "LOGIN_STATE_INVALID"


async def test_the_cookie_of_one_login_does_not_admit_the_callback_of_another(
    service: Accounts, provider: OidcProvider
) -> None:
    victim, attacker = Login(service, provider, KIM), Login(service, provider, KIM)
    await victim.begin()
    callback = attacker.at_provider(await attacker.begin())
    (name,), (value,) = attacker.cookies, victim.cookies.values()
    victim.cookies = {name: value}
    assert await service.reason(victim.end(callback)) == "LOGIN_STATE_INVALID"


async def test_a_code_of_another_login_is_refused(
    service: Accounts, provider: OidcProvider
) -> None:
    """The provider knows the PKCE challenge of the login for which it issued the code."""
    victim, attacker = Login(service, provider, KIM), Login(service, provider, KIM)
    callback = victim.at_provider(await victim.begin())
    attackers = attacker.at_provider(await attacker.begin())
    outcome = await victim.end({**callback, "code": attackers["code"]})
    assert outcome.headers["location"] == "/practice?login_error=login_state_invalid"


async def test_a_code_is_valid_once(service: Accounts, provider: OidcProvider) -> None:
    login = Login(service, provider, KIM)
    callback = login.at_provider(await login.begin())
    await login.end(callback)
    outcome = await login.end(callback)
    assert outcome.headers["location"] == "/practice?login_error=login_state_invalid"
    assert not outcome.has_session


async def test_an_id_token_with_another_nonce_is_refused(
    service: Accounts, provider: OidcProvider
) -> None:
    login = Login(service, provider, KIM, authorization_changes={"nonce": "of the attacker"})
    outcome = await login.run()
    assert outcome.headers["location"] == "/practice?login_error=id_token_invalid"
    assert not outcome.has_session


async def test_a_login_without_the_challenge_is_refused(
    service: Accounts, provider: OidcProvider
) -> None:
    login = Login(service, provider, KIM, authorization_changes={"code_challenge": ""})
    outcome = await login.run()
    assert outcome.headers["location"] == "/practice?login_error=provider_error"


async def test_a_state_expires(service: Accounts, provider: OidcProvider) -> None:
    login = Login(service, provider, KIM)
    callback = login.at_provider(await login.begin())
    service.clock.shift = 601.0
    assert await service.reason(login.end(callback)) == "LOGIN_STATE_INVALID"


@pytest.mark.parametrize("rpc", ["BeginProviderLogin", "EndProviderLogin"])
async def test_an_unknown_provider_is_refused(service: Accounts, rpc: str) -> None:
    request = getattr(pb, f"{rpc}Request")(provider="unknown")
    assert await service.refused(rpc, request) == "PROVIDER_NOT_FOUND"


async def test_a_provider_that_does_not_respond_is_unavailable(service: Accounts) -> None:
    request = pb.BeginProviderLoginRequest(provider="down")
    assert await service.refused("BeginProviderLogin", request) == "PROVIDER_UNAVAILABLE"


# Id tokens of apps.


def exchange(id_token: str, **fields: Any) -> pb.LogInWithIdTokenRequest:
    return pb.LogInWithIdTokenRequest(**{"provider": "corp", "id_token": id_token, **fields})


async def test_an_app_logs_in_with_an_id_token(service: Accounts, provider: OidcProvider) -> None:
    token = provider.sign(provider.claims(aud="the-mobile-app", nonce="of the app"))
    request = exchange(token, nonce="of the app", device="iPhone")
    outcome = await service.call("LogInWithIdToken", request)
    assert outcome.answer.refresh_token
    assert (await service.account_of(outcome)) is not None


async def test_google_login_works_at_the_path_of_the_former_service(
    service: Accounts, provider: OidcProvider
) -> None:
    request = pb.LogInWithGoogleRequest(id_token=provider.sign(provider.claims()))
    outcome = await service.call("LogInWithGoogle", request)
    assert outcome.answer.access_token


async def test_a_token_for_another_client_of_the_provider_is_refused(
    service: Accounts, provider: OidcProvider
) -> None:
    token = provider.sign(provider.claims(aud=OTHER_CLIENT_ID))
    assert await service.refused("LogInWithIdToken", exchange(token)) == "ID_TOKEN_INVALID"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": int(time.time()) - 3600}, id="expired"),
        pytest.param({"iat": int(time.time()) + 3600}, id="of the future"),
        pytest.param({"iss": "https://accounts.google.com"}, id="another issuer"),
        pytest.param({"nonce": "of another login"}, id="another nonce"),
        pytest.param({"azp": OTHER_CLIENT_ID}, id="another party"),
    ],
)
async def test_a_token_with_unsuitable_claims_is_refused(
    service: Accounts, provider: OidcProvider, changes: dict[str, Any]
) -> None:
    claims = provider.claims(nonce="of the app")
    token = provider.sign({**claims, **changes})
    request = exchange(token, nonce="of the app")
    assert await service.refused("LogInWithIdToken", request) == "ID_TOKEN_INVALID"


async def test_an_unsigned_token_is_refused(service: Accounts, provider: OidcProvider) -> None:
    _, claims, _ = provider.sign(provider.claims()).split(".")
    header = urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    token = f"{header}.{claims}."
    assert await service.refused("LogInWithIdToken", exchange(token)) == "ID_TOKEN_INVALID"


@pytest.mark.parametrize("kid", ["first", "unknown"])
async def test_a_token_of_a_foreign_key_is_refused(
    service: Accounts, provider: OidcProvider, kid: str
) -> None:
    key = RSAKey.generate_key(2048, {"kid": kid})
    token = provider.sign(provider.claims(), key)
    assert await service.refused("LogInWithIdToken", exchange(token)) == "ID_TOKEN_INVALID"


async def test_invented_keys_cause_few_requests_to_the_provider(
    service: Accounts, provider: OidcProvider
) -> None:
    before = provider.key_requests()
    for number in range(20):
        token = provider.sign(provider.claims(), kid=f"invented-{number}")
        await service.refused("LogInWithIdToken", exchange(token))
    # The first request, and one more for all unknown keys.
    assert provider.key_requests() - before <= 2


async def test_a_new_key_of_the_provider_is_accepted_immediately(
    service: Accounts, database: Database
) -> None:
    provider = OidcProvider()
    try:
        async with serving(database, {"corp": provider.settings()}) as accounts:
            before = provider.sign(provider.claims())
            await accounts.call("LogInWithIdToken", exchange(before))
            provider.rotate_keys()
            after = provider.sign(provider.claims())
            await accounts.call("LogInWithIdToken", exchange(after))
            # The provider withdrew the former key.
            assert await accounts.refused("LogInWithIdToken", exchange(before)) == (
                "ID_TOKEN_INVALID"
            )
    finally:
        provider.stop()


async def test_known_keys_are_used_while_the_provider_does_not_respond(
    service: Accounts, database: Database
) -> None:
    provider = OidcProvider()
    async with serving(database, {"corp": provider.settings()}) as accounts:
        token = provider.sign(provider.claims())
        await accounts.call("LogInWithIdToken", exchange(token))
        provider.stop()
        accounts.clock.monotonic_shift = 2 * 3600.0
        await accounts.call("LogInWithIdToken", exchange(token))
        accounts.clock.monotonic_shift += REFETCH_SECONDS + 25 * 3600.0
        refused = await accounts.refused("LogInWithIdToken", exchange(token))
        assert refused == "PROVIDER_UNAVAILABLE"


async def test_the_discovery_document_of_another_issuer_is_refused(
    service: Accounts, provider: OidcProvider, database: Database
) -> None:
    # The same server by another name; its document states the first one.
    issuer = f"http://localhost:{provider.port}"
    async with serving(database, {"corp": provider.settings(issuer=issuer)}) as accounts:
        request = exchange(provider.sign(provider.claims(iss=issuer)))
        refused = await accounts.refused("LogInWithIdToken", request)
        assert refused == "PROVIDER_UNAVAILABLE"


async def test_an_id_token_does_not_replace_the_second_factor(
    service: Accounts, provider: OidcProvider
) -> None:
    token = provider.sign(provider.claims())
    account_id = await service.account_of(await service.call("LogInWithIdToken", exchange(token)))
    codes = await service.set_up_second_factor(account_id)
    assert await service.refused("LogInWithIdToken", exchange(token)) == "SECOND_FACTOR_REQUIRED"
    done = await service.call("LogInWithIdToken", exchange(token, totp_code=codes[0]))
    assert await service.account_of(done) == account_id


# Linking.


async def password_account(database: Database, *, verified: bool) -> UUID:
    account_id = UUID(int=1)
    values = {
        "account_id": account_id,
        "email": "kim@example.com",
        "email_verified": verified,
        "password_hash": "a hash",
    }
    async with database.transaction() as connection:
        await connection.execute(insert(accounts).values(values))
    return account_id


async def test_an_account_with_the_same_verified_address_is_linked(
    service: Accounts, provider: OidcProvider, database: Database
) -> None:
    existing = await password_account(database, verified=True)
    assert await Login(service, provider, KIM).account_id() == existing
    account = await service.me(existing)
    assert account.has_password
    assert account.providers == ("corp",)


async def test_an_address_that_the_provider_did_not_verify_links_nothing(
    service: Accounts, provider: OidcProvider, database: Database
) -> None:
    existing = await password_account(database, verified=True)
    own = await Login(service, provider, UNVERIFIED_KIM).account_id()
    assert own != existing
    assert (await service.me(own)).email is None


async def test_the_owner_of_an_address_locks_out_an_attacker_who_signed_up_with_it(
    service: Accounts, provider: OidcProvider, database: Database
) -> None:
    """Pre-hijacking: an attacker signs up first, and waits for the owner of the address."""
    account_id = await password_account(database, verified=False)
    attackers = await service.parts.sessions.begin(account_id, device="", address="")
    await service.set_up_second_factor(account_id)
    async with database.transaction() as connection:
        await connection.execute(
            insert(identities).values(provider="plain", subject="attacker", account_id=account_id)
        )
        await connection.execute(
            insert(passkeys).values(
                passkey_id=account_id,
                account_id=account_id,
                credential_id=b"attacker",
                public_key=b"key",
            )
        )
        await connection.execute(
            insert(mail_tokens).values(
                token_hash=b"attacker",
                purpose="change_email",
                account_id=account_id,
                email="attacker@evil.example",
                expire_time=select(accounts.c.create_time).scalar_subquery(),
            )
        )
    assert await Login(service, provider, KIM).account_id() == account_id
    account = await service.me(account_id)
    assert account.email_verified
    assert not account.has_password
    assert not account.has_totp
    assert not account.has_passkey
    assert account.providers == ("corp",)
    refused = await service.refused(
        "Refresh", pb.RefreshRequest(refresh_token=attackers.refresh_token)
    )
    assert refused == "SESSION_ENDED"
    async with database.transaction() as connection:
        assert (await connection.execute(select(mail_tokens))).all() == []


async def test_a_link_holds_after_the_address_changed_at_the_provider(
    service: Accounts, provider: OidcProvider
) -> None:
    account_id = await Login(service, provider, KIM).account_id()
    moved = {**KIM, "email": "new@example.com"}
    assert await Login(service, provider, moved).account_id() == account_id
    assert (await service.me(account_id)).email == "kim@example.com"


async def test_another_person_gets_another_account(
    service: Accounts, provider: OidcProvider
) -> None:
    lee = {"sub": "lee", "email": "lee@example.com", "email_verified": True, "name": "Lee"}
    first = await Login(service, provider, KIM).account_id()
    assert await Login(service, provider, lee).account_id() != first


async def test_the_same_subject_of_another_provider_is_another_person(
    service: Accounts, provider: OidcProvider
) -> None:
    first = await Login(service, provider, UNVERIFIED_KIM).account_id()
    second = await Login(service, provider, UNVERIFIED_KIM, name="plain").account_id()
    assert first != second


async def test_a_deleted_account_does_not_come_back(
    service: Accounts, provider: OidcProvider, database: Database
) -> None:
    first = await Login(service, provider, KIM).account_id()
    async with database.transaction() as connection:
        await connection.execute(
            update(accounts).values(delete_time=accounts.c.create_time, email=None)
        )
    assert await Login(service, provider, KIM).account_id() != first


async def test_simultaneous_first_logins_create_one_account(
    service: Accounts, provider: OidcProvider, database: Database
) -> None:
    calls = service.gather(
        ("LogInWithIdToken", exchange(provider.sign(provider.claims()))) for _ in range(8)
    )
    ids = {await service.account_of(outcome) for outcome in await calls}
    assert len(ids) == 1
    assert len((await AccountStore(database).get(ids.pop())).providers) == 1
    async with database.transaction() as connection:
        assert len((await connection.execute(select(sessions))).all()) == 8

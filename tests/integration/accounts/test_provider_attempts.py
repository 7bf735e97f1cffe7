"""Limits on logins at providers, by the address of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import ECKey
from yarl import URL

from services.runtime.database import Database
from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.service import of_nobody
from tests.integration.accounts.serving import Accounts, serving

FREE = 3
HOME, ELSEWHERE = of_nobody("192.0.2.1"), of_nobody("198.51.100.9")
GONE = pb.BeginProviderLoginRequest(provider="gone", return_to="/home")
NOT_A_TOKEN = pb.LogInWithIdTokenRequest(provider="corp", id_token="text")


class Provider:
    """A provider that publishes a key, and an issuer of id tokens with it."""

    def __init__(self) -> None:
        self.issuer = ""
        self._key = ECKey.generate_key("P-256", parameters={"kid": "1"})

    async def discovery(self, request: web.Request) -> web.Response:
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        found = {name: f"{self.issuer}/{name}" for name in names}
        return web.json_response({"issuer": self.issuer, **found})

    async def refuse_code(self, request: web.Request) -> web.Response:
        return web.json_response({"error": "invalid_grant"}, status=400)

    async def keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self._key.as_dict(private=False)]})

    def id_token(self, clock: float) -> str:
        claims = {
            "iss": self.issuer,
            "aud": "sori",
            "sub": "kim",
            "iat": int(clock),
            "exp": int(clock) + 60,
        }
        return jwt.encode({"alg": "ES256", "kid": "1"}, claims, self._key)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider, application = Provider(), web.Application()
    application.router.add_get("/.well-known/openid-configuration", provider.discovery)
    application.router.add_get("/jwks_uri", provider.keys)
    application.router.add_post("/token_endpoint", provider.refuse_code)
    async with TestServer(application) as server:
        provider.issuer = str(server.make_url("/")).rstrip("/")
        yield provider


@pytest.fixture
async def service(database: Database, provider: Provider) -> AsyncIterator[Accounts]:
    settings = {
        "corp": {"issuer": provider.issuer, "client_id": "sori"},
        "down": {"issuer": "http://127.0.0.1:9", "client_id": "sori"},
    }
    async with serving(database, settings, accounts_guesses_per_address=FREE) as accounts:
        yield accounts


async def reasons(service: Accounts, rpc: str, request: object, count: int) -> list[str]:
    return [await service.refused(rpc, request, metadata=HOME) for _ in range(count)]


async def test_an_address_that_sends_invalid_id_tokens_must_wait(service: Accounts) -> None:
    refused = await reasons(service, "LogInWithIdToken", NOT_A_TOKEN, FREE + 1)
    assert refused == ["ID_TOKEN_INVALID"] * FREE + ["TOO_MANY_ATTEMPTS"]


async def test_other_addresses_do_not_wait(service: Accounts) -> None:
    await reasons(service, "LogInWithIdToken", NOT_A_TOKEN, FREE + 1)
    refused = await service.refused("LogInWithIdToken", NOT_A_TOKEN, metadata=ELSEWHERE)
    assert refused == "ID_TOKEN_INVALID"


async def test_logins_that_succeed_do_not_count(service: Accounts, provider: Provider) -> None:
    for _ in range(FREE + 2):
        token = provider.id_token(service.clock.now())
        request = pb.LogInWithIdTokenRequest(provider="corp", id_token=token)
        assert (await service.call("LogInWithIdToken", request, metadata=HOME)).answer.access_token


async def test_an_address_that_starts_many_logins_must_wait(service: Accounts) -> None:
    request = pb.BeginProviderLoginRequest(provider="corp", return_to="/home")
    for _ in range(FREE):
        await service.call("BeginProviderLogin", request, metadata=HOME)
    refused = await service.refused("BeginProviderLogin", request, metadata=HOME)
    assert refused == "TOO_MANY_ATTEMPTS"


async def test_guesses_of_names_of_providers_must_wait(service: Accounts) -> None:
    refused = await reasons(service, "BeginProviderLogin", GONE, FREE + 1)
    assert refused == ["PROVIDER_NOT_FOUND"] * FREE + ["TOO_MANY_ATTEMPTS"]


async def test_an_outage_of_the_provider_does_not_count(service: Accounts) -> None:
    request = pb.BeginProviderLoginRequest(provider="down", return_to="/home")
    refused = await reasons(service, "BeginProviderLogin", request, FREE + 2)
    assert refused == ["PROVIDER_UNAVAILABLE"] * (FREE + 2)


async def test_a_refused_callback_returns_to_its_page(service: Accounts) -> None:
    request = pb.BeginProviderLoginRequest(provider="corp", return_to="/home")
    begun = await service.call("BeginProviderLogin", request, metadata=HOME)
    state = URL(begun.headers["location"]).query["state"]
    ended = pb.EndProviderLoginRequest(provider="corp", code="invented", state=state)
    outcomes = [
        await service.call("EndProviderLogin", ended, cookies=begun.cookies, metadata=HOME)
        for _ in range(FREE + 1)
    ]
    errors = [each.headers["location"].partition("login_error=")[2] for each in outcomes]
    assert errors == ["login_state_invalid"] * FREE + ["too_many_attempts"]


async def test_a_refusal_says_when_to_retry(service: Accounts) -> None:
    await reasons(service, "LogInWithIdToken", NOT_A_TOKEN, FREE)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.call("LogInWithIdToken", NOT_A_TOKEN, metadata=HOME)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

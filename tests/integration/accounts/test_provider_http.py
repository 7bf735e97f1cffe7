"""A login at a provider over HTTP: a browser, the real gateway, a real provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlencode

import httpx
import pytest

from services.runtime.database import Database
from stack.ports import free_ports
from tests.integration.accounts.oidc import IS_INSTALLED, Browser, OidcProvider, query_of
from tests.integration.accounts.serving import serving
from tests.integration.gateway.fake_services import Services
from tests.integration.gateway.process import Gateway

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason="Node.js and npm are not installed")

KIM = {"sub": "kim", "email": "kim@example.com", "email_verified": True, "name": "김소리"}


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    provider = OidcProvider()
    provider.choose(KIM)
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def other_services() -> Iterator[Services]:
    services = Services(free_ports(1)[0])
    services.start()
    yield services
    services.stop()


@pytest.fixture
async def client(
    database: Database,
    provider: OidcProvider,
    other_services: Services,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database, {"corp": provider.settings()}) as accounts:
        folder = tmp_path_factory.mktemp("gateway")
        gateway = Gateway(folder, other_services, accounts_address=accounts.address)
        running = gateway.running()
        # The service answers the gateway's health checks in this thread.
        blocking = await asyncio.to_thread(running.__enter__)
        async with httpx.AsyncClient(base_url=blocking.base_url) as client:
            yield client
        await asyncio.to_thread(running.__exit__, None, None, None)


async def callback_of(client: httpx.AsyncClient) -> dict[str, str]:
    """Log in at the provider; returns the parameters of the callback."""
    begun = await client.get("/auth/corp/login", params={"return_to": "/practice"})
    assert begun.status_code == 302, begun.text
    return Browser().log_in(begun.headers["location"])


async def test_a_browser_logs_in(client: httpx.AsyncClient) -> None:
    parameters = await callback_of(client)
    # The provider adds parameters that no proto names.
    assert "iss" in parameters
    ended = await client.get("/auth/corp/callback", params={**parameters, "hd": "example.com"})
    assert (ended.status_code, ended.headers["location"]) == (302, "/practice")
    refresh, login = ended.headers.get_list("set-cookie")
    assert refresh.startswith("__Host-sori_refresh=")
    assert login.startswith("sori_login_")
    assert "Max-Age=0" in login


async def test_a_callback_by_post_is_forwarded(client: httpx.AsyncClient) -> None:
    parameters = await callback_of(client)
    form = {"content-type": "application/x-www-form-urlencoded"}
    posted = await client.post("/auth/corp/callback", content=urlencode(parameters), headers=form)
    assert posted.status_code == 303, posted.text
    path = posted.headers["location"]
    assert query_of(path)["code"] == parameters["code"]
    ended = await client.get(path)
    assert (ended.status_code, ended.headers["location"]) == (302, "/practice")


async def test_a_callback_of_another_browser_is_unauthenticated(
    client: httpx.AsyncClient,
) -> None:
    parameters = await callback_of(client)
    client.cookies.clear()
    ended = await client.get("/auth/corp/callback", params=parameters)
    assert ended.status_code == 401
    assert "set-cookie" not in ended.headers


async def test_a_foreign_page_is_a_bad_request(client: httpx.AsyncClient) -> None:
    answer = await client.get("/auth/corp/login", params={"return_to": "//evil.example"})
    assert answer.status_code == 400


async def test_an_unknown_provider_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/auth/unknown/login")).status_code == 404

"""Providers that misbehave: the service bounds what it reads, and follows no redirects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.accounts.errors import ProviderUnavailable
from services.accounts.provider_http import MAX_ANSWER_BYTES, ProviderHttp, ProviderRefused
from services.accounts.providers import Provider

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Misbehaving:
    """A provider on this machine whose answers the tests choose."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.answer: Answer | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        assert self.answer is not None
        return await self.answer(request)


@pytest.fixture
async def misbehaving() -> Misbehaving:
    return Misbehaving()


@pytest.fixture
async def provider(misbehaving: Misbehaving) -> AsyncIterator[Provider]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", misbehaving.handle)
    async with TestServer(application) as server:
        yield Provider(name="corp", issuer=str(server.make_url("/")).rstrip("/"), client_id="sori")


@pytest.fixture
async def http() -> AsyncIterator[ProviderHttp]:
    async with ProviderHttp() as http:
        yield http


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


async def large(request: web.Request) -> web.StreamResponse:
    return web.json_response({"keys": "a" * MAX_ANSWER_BYTES})


async def redirect(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/elsewhere")


async def text(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>maintenance</html>")


async def array(request: web.Request) -> web.StreamResponse:
    return web.json_response([])


async def nested(request: web.Request) -> web.StreamResponse:
    return web.Response(text='{"a":' * 20_000)


async def broken(request: web.Request) -> web.StreamResponse:
    raise web.HTTPBadGateway


async def closed(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize("answer", [endless, large, text, array, nested, broken, closed])
async def test_an_unusable_answer_makes_the_provider_unavailable(
    http: ProviderHttp, provider: Provider, misbehaving: Misbehaving, answer: Answer
) -> None:
    misbehaving.answer = answer
    with pytest.raises(ProviderUnavailable):
        await http.get(provider, f"{provider.issuer}/keys")


async def test_a_redirect_is_not_followed(
    http: ProviderHttp, provider: Provider, misbehaving: Misbehaving
) -> None:
    misbehaving.answer = redirect
    with pytest.raises(ProviderRefused):
        await http.get(provider, f"{provider.issuer}/keys")
    assert misbehaving.requests == ["/keys"]


async def test_a_token_that_no_header_can_have_makes_the_provider_unavailable(
    http: ProviderHttp, provider: Provider, misbehaving: Misbehaving
) -> None:
    headers = {"Authorization": "Bearer a\r\nHost: evil.example"}
    with pytest.raises(ProviderUnavailable):
        await http.get(provider, f"{provider.issuer}/me", headers)
    assert misbehaving.requests == []


@pytest.mark.parametrize("url", ["http://login.example.com/keys", "file:///etc/passwd", ""])
async def test_an_endpoint_without_https_is_not_called(
    http: ProviderHttp, provider: Provider, url: str
) -> None:
    with pytest.raises(ProviderUnavailable):
        await http.get(provider, url)

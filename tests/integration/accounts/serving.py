"""The accounts service in this process, behind real gRPC."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b32decode
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from joserfc import jwt
from joserfc.jwk import KeySet
from pydantic import SecretStr

from services.accounts import totp
from services.accounts.clients import AnalysisOwnerClient, UploadOwnerClient
from services.accounts.models import Account
from services.accounts.parts import Parts
from services.accounts.provider_logins import ProviderLogins
from services.accounts.second_factor import SecondFactor
from services.accounts.servicer import AccountServicer
from services.accounts.servicer.common import REFRESH_COOKIE
from services.accounts.settings import AccountsSettings
from services.registry import ACCOUNTS
from services.runtime.access import AccessCheck
from services.runtime.database import Database
from services.runtime.interceptors import CallInterceptor
from services.runtime.object_store import ObjectStore
from sori.accounts.v1 import accounts_pb2 as pb
from sori.accounts.v1 import accounts_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
SECRET = "a secret of the tests, thirty-two characters"

Headers = Iterable[tuple[str, str]]


@dataclass
class Clock:
    """The clocks of provider logins, which tests put forward. In seconds."""

    shift: float = 0.0
    monotonic_shift: float = 0.0

    def now(self) -> float:
        return time.time() + self.shift

    def monotonic(self) -> float:
        return time.monotonic() + self.monotonic_shift


@dataclass(frozen=True)
class Outcome:
    """An answer with its headers and the cookies that it sets."""

    answer: Any
    headers: Mapping[str, str]
    cookies: Mapping[str, str]

    @property
    def has_session(self) -> bool:
        return bool(self.cookies.get(REFRESH_COOKIE))


@dataclass
class Accounts:
    """The service as its callers see it. address: where it listens."""

    address: str
    parts: Parts
    clock: Clock
    stub: accounts_pb2_grpc.AccountServiceAsyncStub
    database: Database
    recovery_codes: list[str] = field(default_factory=list)

    async def call(
        self,
        rpc: str,
        request: Any,
        *,
        cookies: Mapping[str, str] | None = None,
        metadata: Headers = (),
        own_page: bool = False,
    ) -> Outcome:
        """Call an rpc. own_page: whether a page of the product itself sends the cookies."""
        headers = [*metadata]
        if cookies:
            headers.append(("cookie", "; ".join(f"{k}={v}" for k, v in cookies.items())))
        if own_page:
            headers.append(("sec-fetch-site", "same-origin"))
        call = getattr(self.stub, rpc)(request, metadata=tuple(headers))
        answer = await call
        pairs = [(key, str(value)) for key, value in await call.initial_metadata()]
        set_cookies = [value.partition(";")[0] for key, value in pairs if key == "set-cookie"]
        named = dict(cookie.split("=", 1) for cookie in set_cookies)
        return Outcome(answer, dict(pairs), named)

    async def refused(self, rpc: str, request: Any, **options: Any) -> str:
        """Call an rpc that is refused; returns the reason."""
        return await self.reason(self.call(rpc, request, **options))

    async def reason(self, call: Awaitable[Outcome]) -> str:
        """The reason why a call is refused."""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return _reason_in(error)
        raise AssertionError("the call was accepted")

    async def gather(self, calls: Iterable[tuple[str, Any]]) -> list[Outcome]:
        """Call rpcs at the same time."""
        return await asyncio.gather(*(self.call(rpc, request) for rpc, request in calls))

    async def account_of(self, outcome: Outcome) -> UUID:
        """The account of the session that a login began."""
        tokens = outcome.answer
        if not isinstance(tokens, pb.Tokens):
            cookie = {REFRESH_COOKIE: outcome.cookies[REFRESH_COOKIE]}
            refreshed = await self.call(
                "Refresh", pb.RefreshRequest(), cookies=cookie, own_page=True
            )
            tokens = refreshed.answer
        keys = KeySet.import_key_set(json.loads(self.parts.keys.public_keys()))
        claims = jwt.decode(tokens.access_token, keys, algorithms=["ES256"]).claims
        return UUID(claims["sub"])

    async def me(self, account_id: UUID) -> Account:
        """An account as it is stored."""
        return await self.parts.accounts.get(account_id)

    async def set_up_second_factor(self, account_id: UUID) -> list[str]:
        """Enrol an authenticator app; returns the recovery codes."""
        await self.enrol(account_id)
        return self.recovery_codes

    async def enrol(self, account_id: UUID) -> bytes:
        """Enrol an authenticator app; returns its secret."""
        caller = identity(account_id)
        enrolled = await self.call("EnrollTotp", pb.EnrollTotpRequest(), metadata=caller)
        text = enrolled.answer.secret
        secret = b32decode(text + "=" * (-len(text) % 8))
        request = pb.ConfirmTotpRequest(code=self.code(secret))
        confirmed = await self.call("ConfirmTotp", request, metadata=caller)
        self.recovery_codes = list(confirmed.answer.recovery_codes)
        return secret

    def code(self, secret: bytes, steps: int = 0) -> str:
        """The code that an app shows now, or some steps later."""
        return totp.code_at(secret, int(self.clock.now()) // totp.STEP_SECONDS + steps)


def identity(account_id: UUID) -> Headers:
    """The metadata by which the gateway states the caller's account."""
    return (("x-sori-caller", "account"), ("x-sori-account", str(account_id)))


def _reason_in(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, error
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return str(info.reason)
    raise AssertionError(f"no reason in {status}")


@asynccontextmanager
async def serving(
    database: Database, providers: Mapping[str, Mapping[str, Any]], **others: Any
) -> AsyncIterator[Accounts]:
    """The service with these login providers. others: further settings."""
    settings = AccountsSettings(
        accounts_secret=SecretStr(SECRET),
        accounts_providers=SecretStr(json.dumps(providers)),
        **others,
    )
    clock = Clock()
    async with AsyncExitStack() as resources:
        channel = await resources.enter_async_context(grpc.aio.insecure_channel("localhost:1"))
        objects = await resources.enter_async_context(ObjectStore.connect(settings))
        parts = Parts.assemble(
            settings, database, AnalysisOwnerClient(channel), UploadOwnerClient(channel), objects
        )
        await resources.enter_async_context(parts.provider_http)
        await parts.keys.refresh()
        parts = with_clock(parts, clock)
        server = grpc.aio.server(interceptors=[CallInterceptor(), AccessCheck(guests=True)])
        accounts_pb2_grpc.add_AccountServiceServicer_to_server(AccountServicer(parts), server)
        health_servicer = health.aio.HealthServicer()
        await health_servicer.set(ACCOUNTS.health_name, SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        resources.push_async_callback(server.stop, None)
        own = await resources.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        yield Accounts(
            f"127.0.0.1:{port}", parts, clock, accounts_pb2_grpc.AccountServiceStub(own), database
        )


def with_clock(parts: Parts, clock: Clock) -> Parts:
    """The same parts, of which provider logins and second factors use another clock."""
    settings, database, sealer = parts.settings, parts.database, parts.sealer
    logins = ProviderLogins.assemble(
        settings, database, sealer, parts.provider_http, clock.now, clock.monotonic
    )
    second_factor = SecondFactor(database, sealer, parts.passkeys, clock.now)
    return replace(parts, provider_logins=logins, second_factor=second_factor)

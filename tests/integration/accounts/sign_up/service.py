"""The accounts service on a real database and a real mail server, called over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from argon2 import PasswordHasher
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pydantic import SecretStr
from sqlalchemy import event, text

from services.accounts.clients import AnalysisOwnerClient, UploadOwnerClient
from services.accounts.outbox import Outbox
from services.accounts.parts import Parts
from services.accounts.passwords import Passwords
from services.accounts.servicer import AccountServicer
from services.accounts.settings import AccountsSettings
from services.runtime.access import AccessCheck
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.interceptors import CallInterceptor
from services.runtime.object_store import ObjectStore
from sori.accounts.v1 import accounts_pb2 as pb
from sori.accounts.v1 import accounts_pb2_grpc
from stack import mail_sink
from tests.mails import Mailbox

EMAIL, PASSWORD = "minji@example.com", "tidal-lamp-orbit"
ADDRESS = "192.0.2.1"
UNUSED_ADDRESS = "127.0.0.1:1"


class CountingHasher(PasswordHasher):
    """argon2 with the smallest parameters; counts the hashes that it computes."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.count = 0

    def hash(self, password: Any, *, salt: Any = None) -> str:
        self.count += 1
        return super().hash(password, salt=salt)

    def verify(self, hash: Any, password: Any) -> Any:  # noqa: A002 (argon2's name)
        self.count += 1
        return super().verify(hash, password)


@dataclass(frozen=True)
class Service:
    """A running service. `address` and `account_id` are those of the caller."""

    stub: Any
    parts: Parts
    mailbox: Mailbox
    hasher: CountingHasher
    address: str = ADDRESS
    account_id: str = ""
    session_id: str = ""
    guest_token: str = ""
    language: str = "ko"

    def at(self, address: str) -> Service:
        """The service as a caller with another network address sees it."""
        return replace(self, address=address)

    def of(self, account_id: str, session_id: str = "") -> Service:
        """The service as a caller with an account sees it."""
        return replace(self, account_id=account_id, session_id=session_id)

    async def call(self, method: str, **fields: Any) -> Any:
        """Call an rpc. Errors: grpc.aio.AioRpcError."""
        request = getattr(pb, f"{method}Request")(**fields)
        return await getattr(self.stub, method)(request, metadata=self._metadata())

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        kind = "account" if self.account_id else "guest" if self.guest_token else "nobody"
        stated = {
            "x-envoy-external-address": self.address,
            "accept-language": self.language,
            "x-sori-caller": kind,
            "x-sori-account": self.account_id,
            "x-sori-session": self.session_id,
            "x-sori-guest-token": self.guest_token,
        }
        return tuple((name, value) for name, value in stated.items() if value)

    async def sign_up(self, email: str = EMAIL, password: str = PASSWORD) -> None:
        await self.call("SignUp", email=email, password=password)

    async def verified(self, email: str = EMAIL, password: str = PASSWORD) -> str:
        """Sign up and verify the address; returns the id of the account."""
        number = len(self.mailbox.mails(email)) + 1
        await self.sign_up(email, password)
        mail = await self.mailbox.wait(email, number)
        await self.call("VerifyEmail", token=mail.token)
        return await self.account_id_of(email)

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> pb.Tokens:
        tokens: pb.Tokens = await self.call("LogIn", email=email, password=password)
        return tokens

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement of the test itself."""
        async with self.parts.database.transaction() as connection:
            result = await connection.execute(text(statement), values)
            return list(result.scalars()) if result.returns_rows else []

    async def account_id_of(self, email: str) -> str:
        (found,) = await self.sql(
            "SELECT account_id FROM accounts.accounts WHERE email = :email", email=email
        )
        return str(found)

    async def queued(self) -> int:
        (count,) = await self.sql("SELECT count(*) FROM accounts.mails")
        return int(count)


def settings_of(database_url: str, **values: Any) -> AccountsSettings:
    return AccountsSettings(
        database_url=SecretStr(database_url),
        accounts_secret=SecretStr("a secret for tests only, 32 or more"),
        **values,
    )


@asynccontextmanager
async def running(database_url: str, folder: Path, **values: Any) -> AsyncIterator[Service]:
    """A service that sends its mails to a sink. values: of settings."""
    async with mail_sink.serving("127.0.0.1", 0, folder) as port:
        url = SecretStr(f"smtp://127.0.0.1:{port}")
        async with without_mail_server(database_url, folder, smtp_url=url, **values) as service:
            yield service


@asynccontextmanager
async def without_mail_server(
    database_url: str, folder: Path, **values: Any
) -> AsyncIterator[Service]:
    """A service whose mail server is not running, unless values has the URL of one."""
    values = {"smtp_url": SecretStr(f"smtp://{UNUSED_ADDRESS}"), **values}
    settings = settings_of(database_url, **values)
    hasher = CountingHasher()
    async with (
        Database(settings, "accounts") as database,
        open_channel(UNUSED_ADDRESS, None) as channel,
        ObjectStore.connect(settings) as objects,
    ):
        parts = Parts.assemble(
            settings, database, AnalysisOwnerClient(channel), UploadOwnerClient(channel), objects
        )
        parts = replace(parts, passwords=Passwords(settings, database, hasher))
        await parts.keys.refresh()
        async with _stub(parts) as stub, _running(parts.outbox):
            hasher.count = 0
            yield Service(stub, parts, Mailbox(folder), hasher)


@asynccontextmanager
async def _stub(parts: Parts) -> AsyncIterator[Any]:
    server = grpc.aio.server(interceptors=[CallInterceptor(), AccessCheck(guests=True)])
    accounts_pb2_grpc.add_AccountServiceServicer_to_server(AccountServicer(parts), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield accounts_pb2_grpc.AccountServiceStub(channel)
    await server.stop(None)


@asynccontextmanager
async def _running(outbox: Outbox) -> AsyncIterator[None]:
    task = asyncio.ensure_future(outbox.run())
    yield
    await outbox.stop()
    await task


@dataclass(frozen=True)
class Refusal:
    """What a caller learns from an error."""

    code: grpc.StatusCode
    reason: str
    message: str
    learner_text: str
    retry_seconds: int
    trailers: tuple[tuple[str, str | bytes], ...]


async def refusal(call: Awaitable[Any]) -> Refusal:
    """The error of a call that must fail."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        assert status is not None
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        localized = error_details_pb2.LocalizedMessage()
        for detail in status.details:
            for kind in (info, retry, localized):
                if detail.Is(kind.DESCRIPTOR):
                    detail.Unpack(kind)
        trailers = tuple((each[0], each[1]) for each in error.trailing_metadata() or ())
        seconds = retry.retry_delay.seconds
        return Refusal(
            error.code(), info.reason, status.message, localized.message, seconds, trailers
        )
    raise AssertionError("the call succeeded")


async def reason(call: Awaitable[Any]) -> str:
    """The reason of a call that must fail."""
    return (await refusal(call)).reason


@asynccontextmanager
async def statements(service: Service) -> AsyncIterator[list[str]]:
    """The statements that calls inside the context run; the outbox must be idle."""
    found: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        found.append(statement)

    engine = service.parts.database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)

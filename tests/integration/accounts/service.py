"""The accounts service of a test: its rpcs over gRPC, its database, and the other services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sqlalchemy import text

from services.accounts.models import IssuedTokens
from services.accounts.parts import Parts
from services.runtime.object_store import ObjectStore
from sori.accounts.v1 import accounts_pb2_grpc
from tests.integration.accounts.peers import Stored

Metadata = tuple[tuple[str, str], ...]

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.9"


@dataclass(frozen=True)
class Service:
    """The service, as its clients and its tests use it.

    analyses, uploads: what the other services store. pictures: the rpcs for the upload service.
    objects: the bucket.
    """

    parts: Parts
    rpcs: accounts_pb2_grpc.AccountServiceAsyncStub
    admin: accounts_pb2_grpc.AccountAdminServiceAsyncStub
    analyses: Stored
    uploads: Stored
    pictures: accounts_pb2_grpc.AccountPictureServiceAsyncStub
    objects: ObjectStore

    async def new_account(self, email: str = "") -> UUID:
        """Insert an account without a password. email: default: one that no account has."""
        account_id = uuid4()
        await self.execute(
            "INSERT INTO accounts.accounts (account_id, email, email_verified)"
            " VALUES (:id, :email, true)",
            id=account_id,
            email=email or f"{account_id}@example.com",
        )
        return account_id

    async def logged_in(self, account_id: UUID, address: str = HOME) -> IssuedTokens:
        """Begin a session."""
        return await self.parts.sessions.begin(account_id, device="test", address=address)

    async def execute(self, statement: str, **values: Any) -> None:
        """Run a statement."""
        async with self.parts.database.transaction() as connection:
            await connection.execute(text(statement), values)

    async def value(self, statement: str, **values: Any) -> Any:
        """The only value that a query returns."""
        async with self.parts.database.transaction() as connection:
            return (await connection.execute(text(statement), values)).scalar_one()


def of_account(account_id: UUID, *roles: str) -> Metadata:
    """The metadata in which the gateway states an account."""
    return (
        ("x-sori-caller", "account"),
        ("x-sori-account", str(account_id)),
        ("x-sori-roles", " ".join(roles)),
    )


def of_nobody(address: str = HOME, **headers: str) -> Metadata:
    """The metadata in which the gateway states a caller without credentials."""
    named = ((name.replace("_", "-"), value) for name, value in headers.items())
    return (("x-sori-caller", "nobody"), ("x-envoy-external-address", address), *named)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason that an error states."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return str(info.reason)

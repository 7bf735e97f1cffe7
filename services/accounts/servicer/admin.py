"""Accounts, for operators."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID, uuid4

from services.accounts import converters
from services.accounts.models import Actor, Client, Role
from services.accounts.parts import Parts
from services.accounts.sealing import new_token, token_hash
from services.accounts.servicer.common import uuid_of
from services.accounts.store import AuditStore, ClientStore, RoleStore
from services.runtime.access import caller_of
from services.runtime.client_address import client_key
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context
from services.runtime.paging import page_size_of, page_token, position_of
from services.runtime.text import nfc, text_problem
from sori.accounts.v1 import accounts_pb2 as pb
from sori.accounts.v1 import accounts_pb2_grpc

MAX_NAME_LENGTH = 100
MAX_EMAIL_LENGTH = 254
COMMAND = "command"
"""The actor of a caller without credentials, which only the command line and services are."""


class AccountAdminServicer(accounts_pb2_grpc.AccountAdminServiceServicer):
    """All rpcs of the AccountAdminService."""

    def __init__(self, parts: Parts) -> None:
        self._accounts = parts.accounts
        self._roles = RoleStore(parts.database)
        self._clients = ClientStore(parts.database)
        self._audit = AuditStore(parts.database)

    async def GetAccount(self, request: pb.GetAccountRequest, context: Context) -> pb.Account:
        account_id = uuid_of("account_id", request.account_id)
        return converters.account_to(await self._accounts.get(account_id))

    async def ListAccounts(
        self, request: pb.ListAccountsRequest, context: Context
    ) -> pb.ListAccountsResponse:
        size = page_size_of(request.page_size)
        before = _account_position(request)
        role = _role_of(request.role) if request.role else None
        email = _email_of(request.email)
        found = await self._accounts.page(size + 1, before, email=email, role=role)
        page = found[:size]
        response = pb.ListAccountsResponse(accounts=map(converters.account_to, page))
        if len(found) > size:
            last = page[-1]
            position = [last.create_time.isoformat(), str(last.account_id)]
            response.next_page_token = page_token(request, position)
        return response

    async def GrantRole(self, request: pb.GrantRoleRequest, context: Context) -> pb.Account:
        account_id, role = uuid_of("account_id", request.account_id), _role_of(request.role)
        account = await self._roles.grant(account_id, role, _actor_of(context))
        return converters.account_to(account)

    async def RevokeRole(self, request: pb.RevokeRoleRequest, context: Context) -> pb.Account:
        account_id, role = uuid_of("account_id", request.account_id), _role_of(request.role)
        account = await self._roles.revoke(account_id, role, _actor_of(context))
        return converters.account_to(account)

    async def CreateClient(
        self, request: pb.CreateClientRequest, context: Context
    ) -> pb.CreateClientResponse:
        name = _name_of(request.name)
        roles = tuple(dict.fromkeys(map(_role_of, request.roles)))
        secret = new_token()
        client = Client(uuid4(), token_hash(secret), roles)
        await self._clients.create(client, name, _actor_of(context))
        return pb.CreateClientResponse(client_id=str(client.client_id), client_secret=secret)

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        size = page_size_of(request.page_size)
        before_id = _entry_position(request)
        account_id = str(uuid_of("account_id", request.account_id)) if request.account_id else ""
        found = await self._audit.page(size + 1, before_id, account_id)
        page = found[:size]
        response = pb.ListAuditEntriesResponse(entries=map(converters.audit_entry_to, page))
        if len(found) > size:
            response.next_page_token = page_token(request, [str(page[-1].entry_id)])
        return response


def _actor_of(context: Context) -> Actor:
    return Actor(caller_of(context).owner_id or COMMAND, client_key(context))


def _role_of(value: pb.Role.ValueType) -> Role:
    role = converters.role_from(value)
    if role is None:
        raise InvalidField(FieldViolation("role", "must be ROLE_CATALOG_EDITOR or ROLE_OPERATOR"))
    return role


def _name_of(text: str) -> str:
    name = nfc(text, MAX_NAME_LENGTH).strip()
    problem = text_problem(name, MAX_NAME_LENGTH) or (None if name else "must not be empty")
    if problem:
        raise InvalidField(FieldViolation("name", problem))
    return name


def _account_position(request: pb.ListAccountsRequest) -> tuple[datetime, UUID] | None:
    position = position_of(request, str, str)
    if not position:
        return None
    try:
        time, account_id = datetime.fromisoformat(str(position[0])), UUID(str(position[1]))
    except ValueError:
        raise _forged_page_token() from None
    if time.tzinfo is None:
        raise _forged_page_token()
    return time, account_id


def _entry_position(request: pb.ListAuditEntriesRequest) -> int | None:
    position = position_of(request, str)
    if not position:
        return None
    digits = str(position[0])
    if not re.fullmatch("[0-9]{1,18}", digits):
        raise _forged_page_token()
    return int(digits)


def _forged_page_token() -> InvalidField:
    return InvalidField(FieldViolation("page_token", "must be a next_page_token of this list"))


def _email_of(text: str) -> str:
    email = text.strip().lower()
    if problem := text_problem(email, MAX_EMAIL_LENGTH):
        raise InvalidField(FieldViolation("email", problem))
    return email

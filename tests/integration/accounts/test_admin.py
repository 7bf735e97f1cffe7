"""Operators read accounts, grant roles and create clients; every change is in the audit log."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import grpc
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy.exc import DBAPIError

from services.accounts.errors import SessionEnded
from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.service import (
    HOME,
    Service,
    of_account,
    of_nobody,
    reason_of,
)

OPERATOR = uuid4()
AS_OPERATOR = (*of_account(OPERATOR, "operator"), ("x-envoy-external-address", HOME))


async def granted(service: Service, account_id: UUID, role: pb.Role.ValueType) -> pb.Account:
    request = pb.GrantRoleRequest(account_id=str(account_id), role=role)
    account: pb.Account = await service.admin.GrantRole(request, metadata=AS_OPERATOR)
    return account


async def entries(service: Service) -> list[pb.AuditEntry]:
    listed = await service.admin.ListAuditEntries(
        pb.ListAuditEntriesRequest(), metadata=AS_OPERATOR
    )
    return list(listed.entries)


async def test_a_granted_role_is_audited_once(service: Service) -> None:
    account_id = await service.new_account()
    for _ in range(2):
        account = await granted(service, account_id, pb.ROLE_CATALOG_EDITOR)
        assert account.roles == [pb.ROLE_CATALOG_EDITOR]
    (entry,) = await entries(service)
    assert (entry.actor_id, entry.account_id) == (str(OPERATOR), str(account_id))
    assert (entry.action, entry.detail) == ("grant_role", "catalog_editor")
    assert entry.address == HOME


async def test_a_revoked_role_ends_the_sessions_of_the_account(service: Service) -> None:
    account_id = await service.new_account()
    await granted(service, account_id, pb.ROLE_OPERATOR)
    begun = await service.logged_in(account_id)
    request = pb.RevokeRoleRequest(account_id=str(account_id), role=pb.ROLE_OPERATOR)
    account = await service.admin.RevokeRole(request, metadata=AS_OPERATOR)
    assert not account.roles
    with pytest.raises(SessionEnded):
        await service.parts.sessions.refresh(begun.refresh_token, HOME)
    assert [entry.action for entry in await entries(service)] == ["revoke_role", "grant_role"]


async def test_a_role_that_the_account_lacks_is_revoked_without_effect(service: Service) -> None:
    account_id = await service.new_account()
    begun = await service.logged_in(account_id)
    request = pb.RevokeRoleRequest(account_id=str(account_id), role=pb.ROLE_OPERATOR)
    await service.admin.RevokeRole(request, metadata=AS_OPERATOR)
    await service.parts.sessions.refresh(begun.refresh_token, HOME)
    assert not await entries(service)


@pytest.mark.parametrize("roles", [(), ("catalog_editor",)])
async def test_only_operators_grant_roles(service: Service, roles: tuple[str, ...]) -> None:
    account_id = await service.new_account()
    request = pb.GrantRoleRequest(account_id=str(account_id), role=pb.ROLE_OPERATOR)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.admin.GrantRole(request, metadata=of_account(account_id, *roles))
    assert reason_of(refused.value) == "ROLE_MISSING"


async def test_a_deleted_account_does_not_exist(service: Service) -> None:
    account_id = await service.new_account()
    await service.parts.erasures.begin(account_id, HOME)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await granted(service, account_id, pb.ROLE_OPERATOR)
    assert reason_of(refused.value) == "ACCOUNT_NOT_FOUND"
    request = pb.GetAccountRequest(account_id=str(account_id))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.admin.GetAccount(request, metadata=AS_OPERATOR)
    assert reason_of(refused.value) == "ACCOUNT_NOT_FOUND"


async def test_accounts_are_listed_in_pages_the_newest_first(service: Service) -> None:
    created = [str(await service.new_account()) for _ in range(5)]
    listed: list[str] = []
    request = pb.ListAccountsRequest(page_size=2)
    while True:
        page = await service.admin.ListAccounts(request, metadata=AS_OPERATOR)
        listed += [account.account_id for account in page.accounts]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == created[::-1]


async def test_accounts_are_found_by_address_and_by_role(service: Service) -> None:
    found_id = await service.new_account("dana@example.com")
    other_id = await service.new_account()
    await granted(service, other_id, pb.ROLE_OPERATOR)
    by_email = pb.ListAccountsRequest(email=" Dana@Example.com")
    page = await service.admin.ListAccounts(by_email, metadata=AS_OPERATOR)
    assert [account.account_id for account in page.accounts] == [str(found_id)]
    by_role = pb.ListAccountsRequest(role=pb.ROLE_OPERATOR)
    page = await service.admin.ListAccounts(by_role, metadata=AS_OPERATOR)
    assert [account.account_id for account in page.accounts] == [str(other_id)]


async def test_the_audit_log_is_listed_in_pages(service: Service) -> None:
    first, second = await service.new_account(), await service.new_account()
    for account_id in (first, second, first):
        await granted(service, account_id, pb.ROLE_OPERATOR)
        request = pb.RevokeRoleRequest(account_id=str(account_id), role=pb.ROLE_OPERATOR)
        await service.admin.RevokeRole(request, metadata=AS_OPERATOR)
    query = pb.ListAuditEntriesRequest(page_size=3, account_id=str(first))
    page = await service.admin.ListAuditEntries(query, metadata=AS_OPERATOR)
    query.page_token = page.next_page_token
    rest = await service.admin.ListAuditEntries(query, metadata=AS_OPERATOR)
    found = [entry.action for entry in (*page.entries, *rest.entries)]
    assert found == ["revoke_role", "grant_role"] * 2
    assert not rest.next_page_token


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM accounts.audit",
        "UPDATE accounts.audit SET action = 'nothing'",
        "UPDATE accounts.audit SET address = '', actor_id = 'nobody'",
    ],
)
async def test_the_audit_log_cannot_be_changed(service: Service, statement: str) -> None:
    await granted(service, await service.new_account(), pb.ROLE_OPERATOR)
    with pytest.raises(DBAPIError, match="cannot be changed"):
        await service.execute(statement)


async def client(service: Service, *roles: pb.Role.ValueType) -> pb.CreateClientResponse:
    request = pb.CreateClientRequest(name="nightly import", roles=roles)
    created: pb.CreateClientResponse = await service.admin.CreateClient(
        request, metadata=AS_OPERATOR
    )
    return created


async def test_an_internal_client_gets_tokens_with_its_roles(service: Service) -> None:
    created = await client(service, pb.ROLE_CATALOG_EDITOR, pb.ROLE_CATALOG_EDITOR)
    request = pb.GetClientTokenRequest(
        client_id=created.client_id, client_secret=created.client_secret
    )
    tokens = await service.rpcs.GetClientToken(request, metadata=of_nobody())
    keys = KeySet.import_key_set(json.loads(service.parts.keys.public_keys()))
    claims = jwt.decode(tokens.access_token, keys, algorithms=["ES256"]).claims
    assert (claims["sub"], claims["roles"]) == (created.client_id, ["catalog_editor"])
    assert not tokens.refresh_token
    (entry,) = await entries(service)
    assert (entry.action, entry.actor_id) == ("create_client", str(OPERATOR))
    assert created.client_secret not in entry.detail


async def test_unknown_clients_and_wrong_secrets_get_the_same_answer(service: Service) -> None:
    created = await client(service)
    for client_id in (created.client_id, str(uuid4()), "not a UUID"):
        request = pb.GetClientTokenRequest(client_id=client_id, client_secret="wrong")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.rpcs.GetClientToken(request, metadata=of_nobody())
        assert reason_of(refused.value) == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("page_token", ["x", "eyJ9", "é"])
async def test_a_forged_page_token_is_refused(service: Service, page_token: str) -> None:
    request = pb.ListAccountsRequest(page_token=page_token)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.admin.ListAccounts(request, metadata=AS_OPERATOR)
    assert reason_of(refused.value) == "INVALID_FIELD"

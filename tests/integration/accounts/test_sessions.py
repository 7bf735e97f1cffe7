"""Sessions: what refreshes, retries, thefts and log-outs do to a learner's login."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID

import grpc
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from services.accounts.errors import AccountNotFound, SessionEnded
from services.accounts.store import ExpiredRows
from services.accounts.store.sessions import MAX_SESSIONS
from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.service import (
    ELSEWHERE,
    HOME,
    Service,
    of_account,
    of_nobody,
    reason_of,
)

SAME_SITE = {"x_requested_with": "fetch"}


async def refreshed(service: Service, token: str, address: str = HOME) -> pb.Tokens:
    request = pb.RefreshRequest(refresh_token=token)
    tokens: pb.Tokens = await service.rpcs.Refresh(request, metadata=of_nobody(address))
    return tokens


async def has_ended(service: Service, token: str) -> bool:
    """Whether a refresh token is of no use; exchanges it if it is."""
    try:
        await service.parts.sessions.refresh(token, HOME)
    except SessionEnded:
        return True
    return False


async def expire_grace(service: Service) -> None:
    await service.execute(
        "UPDATE accounts.used_refresh_tokens SET use_time = use_time - interval '1 minute'"
    )


async def test_a_refresh_gives_an_access_token_with_the_roles_of_now(service: Service) -> None:
    account_id = await service.new_account()
    begun = await service.logged_in(account_id)
    await service.execute(
        "INSERT INTO accounts.roles (account_id, role, granted_by)"
        " VALUES (:id, 'catalog_editor', 'test')",
        id=account_id,
    )
    tokens = await refreshed(service, begun.refresh_token)
    keys = KeySet.import_key_set(json.loads(service.parts.keys.public_keys()))
    claims = jwt.decode(tokens.access_token, keys, algorithms=["ES256"]).claims
    assert (claims["sub"], claims["sid"]) == (str(account_id), begun.session_id)
    assert claims["roles"] == ["catalog_editor"]


async def test_a_retry_after_a_lost_answer_gets_the_same_token(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    lost = await refreshed(service, begun.refresh_token)
    retried = await refreshed(service, begun.refresh_token)
    assert retried.refresh_token == lost.refresh_token
    assert not await has_ended(service, retried.refresh_token)


async def test_concurrent_refreshes_of_one_token_get_the_same_token(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    answers = await asyncio.gather(*(refreshed(service, begun.refresh_token) for _ in range(8)))
    assert len({answer.refresh_token for answer in answers}) == 1


async def test_a_token_that_is_used_twice_ends_its_session_and_is_audited(
    service: Service,
) -> None:
    account_id = await service.new_account()
    begun = await service.logged_in(account_id)
    valid = await refreshed(service, begun.refresh_token)
    await expire_grace(service)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await refreshed(service, begun.refresh_token)
    assert reason_of(refused.value) == "SESSION_ENDED"
    assert await has_ended(service, valid.refresh_token)
    action = await service.value(
        "SELECT action FROM accounts.audit WHERE account_id = :id", id=str(account_id)
    )
    assert action == "refresh_token_reused"


async def test_a_retry_from_another_address_ends_the_session(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    valid = await refreshed(service, begun.refresh_token)
    with pytest.raises(grpc.aio.AioRpcError):
        await refreshed(service, begun.refresh_token, ELSEWHERE)
    assert await has_ended(service, valid.refresh_token)


async def test_a_stolen_token_leaves_the_other_sessions_alone(service: Service) -> None:
    account_id = await service.new_account()
    stolen, other = await service.logged_in(account_id), await service.logged_in(account_id)
    await refreshed(service, stolen.refresh_token)
    await expire_grace(service)
    assert await has_ended(service, stolen.refresh_token)
    assert not await has_ended(service, other.refresh_token)


async def test_a_session_ends_without_refreshes(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    await service.execute("UPDATE accounts.sessions SET expire_time = now()")
    assert await has_ended(service, begun.refresh_token)


async def test_a_deleted_account_has_no_sessions(service: Service) -> None:
    account_id = await service.new_account()
    begun = await service.logged_in(account_id)
    await service.parts.erasures.begin(account_id, HOME)
    assert await has_ended(service, begun.refresh_token)
    with pytest.raises(AccountNotFound):
        await service.logged_in(account_id)


async def test_the_database_has_no_token_that_works(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    tokens = await refreshed(service, begun.refresh_token)
    rows = await service.value(
        "SELECT (SELECT string_agg(s::text, '') FROM accounts.sessions s)"
        " || (SELECT string_agg(u::text, '') FROM accounts.used_refresh_tokens u)"
    )
    for token in (begun.refresh_token, tokens.refresh_token):
        assert token not in rows
        assert token.encode().hex() not in rows


async def test_the_oldest_sessions_end_when_there_are_too_many(service: Service) -> None:
    account_id = await service.new_account()
    oldest = await service.logged_in(account_id)
    for _ in range(MAX_SESSIONS - 1):
        await service.logged_in(account_id)
    newest = await service.logged_in(account_id)
    assert await has_ended(service, oldest.refresh_token)
    assert not await has_ended(service, newest.refresh_token)


class TestCookie:
    async def cookie(self, service: Service) -> str:
        begun = await service.logged_in(await service.new_account())
        return f"theme=dark; __Host-sori_refresh={begun.refresh_token}"

    async def test_a_refresh_by_cookie_returns_the_next_token_only_as_a_cookie(
        self, service: Service
    ) -> None:
        metadata = of_nobody(cookie=await self.cookie(service), **SAME_SITE)
        call = service.rpcs.Refresh(pb.RefreshRequest(), metadata=metadata)
        headers = dict(await call.initial_metadata())
        assert not (await call).refresh_token
        cookie = str(headers["set-cookie"])
        name, _, rest = cookie.partition("=")
        token, *attributes = rest.split("; ")
        assert name == "__Host-sori_refresh"
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} <= set(attributes)
        assert not await has_ended(service, token)

    @pytest.mark.parametrize(
        ("header", "value", "is_allowed"),
        [
            ("x_requested_with", "fetch", True),
            ("sec_fetch_site", "same-origin", True),
            ("sec_fetch_site", "same-site", True),
            ("sec_fetch_site", "cross-site", False),
            ("sec_fetch_site", "none", False),
            ("origin", "https://evil.example", False),
        ],
    )
    async def test_a_page_of_another_site_cannot_use_the_cookie(
        self, service: Service, header: str, value: str, is_allowed: bool
    ) -> None:
        metadata = of_nobody(cookie=await self.cookie(service), **{header: value})
        if is_allowed:
            await service.rpcs.Refresh(pb.RefreshRequest(), metadata=metadata)
            return
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.rpcs.Refresh(pb.RefreshRequest(), metadata=metadata)
        assert reason_of(refused.value) == "CROSS_SITE_REQUEST"

    async def test_a_log_out_deletes_the_cookie(self, service: Service) -> None:
        metadata = of_nobody(cookie=await self.cookie(service), **SAME_SITE)
        call = service.rpcs.LogOut(pb.LogOutRequest(), metadata=metadata)
        await call
        headers = dict(await call.initial_metadata())
        assert str(headers["set-cookie"]).startswith("__Host-sori_refresh=; Path=/; Max-Age=0;")


async def log_out(service: Service, token: str, *, everywhere: bool) -> None:
    request = pb.LogOutRequest(refresh_token=token, everywhere=everywhere)
    await service.rpcs.LogOut(request, metadata=of_nobody())


async def test_a_log_out_ends_this_session_only(service: Service) -> None:
    account_id = await service.new_account()
    here, there = await service.logged_in(account_id), await service.logged_in(account_id)
    await log_out(service, here.refresh_token, everywhere=False)
    assert await has_ended(service, here.refresh_token)
    assert not await has_ended(service, there.refresh_token)


async def test_a_log_out_everywhere_ends_all_sessions_of_the_account(service: Service) -> None:
    account_id = await service.new_account()
    here, there = await service.logged_in(account_id), await service.logged_in(account_id)
    other = await service.logged_in(await service.new_account())
    await log_out(service, here.refresh_token, everywhere=True)
    assert await has_ended(service, there.refresh_token)
    assert not await has_ended(service, other.refresh_token)


async def test_a_log_out_with_an_unknown_token_changes_nothing(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    await log_out(service, "unknown", everywhere=True)
    assert not await has_ended(service, begun.refresh_token)


async def revoke(service: Service, account_id: UUID, session_id: str) -> None:
    request = pb.RevokeSessionRequest(session_id=session_id)
    await service.rpcs.RevokeSession(request, metadata=of_account(account_id))


async def test_a_learner_lists_and_revokes_sessions(service: Service) -> None:
    account_id = await service.new_account()
    first, second = await service.logged_in(account_id), await service.logged_in(account_id)
    await revoke(service, account_id, first.session_id)
    listed = await service.rpcs.ListSessions(
        pb.ListSessionsRequest(), metadata=of_account(account_id)
    )
    assert [each.session_id for each in listed.sessions] == [second.session_id]
    assert (listed.sessions[0].device, listed.sessions[0].address) == ("test", HOME)
    assert await has_ended(service, first.refresh_token)


async def test_a_learner_cannot_revoke_the_session_of_another(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    await revoke(service, await service.new_account(), begun.session_id)
    assert not await has_ended(service, begun.refresh_token)


async def test_expired_sessions_and_used_tokens_are_deleted(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    kept = await service.logged_in(await service.new_account())
    await refreshed(service, kept.refresh_token)
    await service.execute(
        "UPDATE accounts.sessions SET expire_time = now() - interval '1 minute'"
        " WHERE session_id = :id",
        id=UUID(begun.session_id),
    )
    await service.execute(
        "UPDATE accounts.used_refresh_tokens SET use_time = now() - interval '2 days'"
    )
    await ExpiredRows(service.parts.database, refresh_token_seconds=24 * 3600).delete()
    assert await service.value("SELECT count(*) FROM accounts.sessions") == 1
    assert await service.value("SELECT count(*) FROM accounts.used_refresh_tokens") == 0

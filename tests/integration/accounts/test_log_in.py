"""A login begins a session of its own, and only a page of this site begins one with a cookie."""

from __future__ import annotations

from contextlib import suppress

import grpc
import pytest
from prometheus_client import REGISTRY

from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.service import Service, of_nobody, reason_of

EMAIL, PASSWORD = "dana@example.com", "correct horse battery"


@pytest.fixture
async def learner(service: Service) -> Service:
    """The service with an account that has a password."""
    await service.new_account(EMAIL)
    await service.execute(
        "UPDATE accounts.accounts SET password_hash = :hash",
        hash=await service.parts.passwords.hash(PASSWORD, EMAIL),
    )
    return service


async def test_a_login_never_continues_a_session_of_the_browser(learner: Service) -> None:
    planted = await learner.rpcs.LogIn(
        pb.LogInRequest(email=EMAIL, password=PASSWORD), metadata=of_nobody()
    )
    metadata = of_nobody(
        cookie=f"__Host-sori_refresh={planted.refresh_token}", x_requested_with="fetch"
    )
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD, use_cookie=True)
    call = learner.rpcs.LogIn(request, metadata=metadata)
    tokens = await call
    assert tokens.session_id != planted.session_id
    assert planted.refresh_token not in str(dict(await call.initial_metadata())["set-cookie"])


async def test_a_page_of_another_site_cannot_log_a_browser_in(learner: Service) -> None:
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD, use_cookie=True)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await learner.rpcs.LogIn(request, metadata=of_nobody(sec_fetch_site="cross-site"))
    assert reason_of(refused.value) == "CROSS_SITE_REQUEST"


async def test_a_long_name_of_a_device_is_refused(learner: Service) -> None:
    request = pb.LogInRequest(email=EMAIL, password=PASSWORD, device="x" * 101)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await learner.rpcs.LogIn(request, metadata=of_nobody())
    assert reason_of(refused.value) == "INVALID_FIELD"


def logins(outcome: str) -> float:
    """The value of the metric."""
    labels = {"outcome": outcome}
    return REGISTRY.get_sample_value("sori_accounts_logins_total", labels) or 0.0


async def test_logins_are_counted_by_their_outcome(learner: Service) -> None:
    outcomes = {PASSWORD: "SUCCEEDED", "wrong password": "CREDENTIALS_INVALID"}
    before = {outcome: logins(outcome) for outcome in outcomes.values()}
    for password in outcomes:
        with suppress(grpc.aio.AioRpcError):
            request = pb.LogInRequest(email=EMAIL, password=password)
            await learner.rpcs.LogIn(request, metadata=of_nobody())
    assert {each: logins(each) - before[each] for each in before} == dict.fromkeys(before, 1.0)

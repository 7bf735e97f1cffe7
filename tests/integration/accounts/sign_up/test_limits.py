"""Limits on guesses and mails, over all replicas, and floods that cost others nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from services.accounts.attempts import Limit, Policy, Scope, guess_limits
from services.accounts.store.attempts import AttemptStore
from services.runtime.database import Database
from tests.integration.accounts.sign_up.service import (
    ADDRESS,
    EMAIL,
    PASSWORD,
    Service,
    reason,
    refusal,
    running,
    statements,
)

WRONG = "wrong-lamp-orbit"
NEW_PASSWORD = "velvet-comet-harbor"
FREE_GUESSES = 5


async def guess(service: Service, times: int, email: str = EMAIL) -> None:
    for _ in range(times):
        assert await reason(service.log_in(email, WRONG)) == "CREDENTIALS_INVALID"


async def exhaust(service: Service, email: str = EMAIL) -> None:
    """Use up the free guesses for an account; the next one must wait for minutes."""
    await guess(service, FREE_GUESSES, email)
    await lengthen_delays(service, FREE_GUESSES)


async def lengthen_delays(service: Service, free: int) -> None:
    """Lengthen the delays of exceeded limits to minutes, for slow machines."""
    await service.sql(
        "UPDATE accounts.attempts SET count = count + 12 WHERE count >= :free", free=free
    )


async def test_guesses_must_wait_and_learn_how_long(service: Service) -> None:
    await service.verified()
    await exhaust(service)
    error = await refusal(service.log_in())
    assert (error.code, error.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_ATTEMPTS",
    )
    assert error.retry_seconds >= 1
    assert ("retry-after", str(error.retry_seconds)) in error.trailers


async def test_after_the_delay_the_right_password_is_accepted(service: Service) -> None:
    await service.verified()
    await guess(service, FREE_GUESSES)
    await service.sql("UPDATE accounts.attempts SET time = time - interval '1 minute'")
    assert (await service.log_in()).access_token
    # The success clears the count.
    await guess(service, FREE_GUESSES)


async def test_unknown_addresses_are_limited_in_the_same_way(service: Service) -> None:
    await exhaust(service, "nobody@example.com")
    call = service.log_in("nobody@example.com", WRONG)
    assert await reason(call) == "TOO_MANY_ATTEMPTS"


async def test_strangers_do_not_lock_an_account_for_its_owner(service: Service) -> None:
    await service.verified()
    await service.log_in()
    strangers = [service.at(f"198.51.100.{number}") for number in range(20)]
    for stranger in strangers:
        await guess(stranger, 1)
    await lengthen_delays(service, 20)
    stranger = service.at("198.51.100.99")
    assert await reason(stranger.log_in(password=WRONG)) == "TOO_MANY_ATTEMPTS"
    assert (await service.log_in()).access_token


async def test_a_password_reset_ends_the_delays_of_the_account(service: Service) -> None:
    await service.verified()
    await exhaust(service)
    await service.call("RequestPasswordReset", email=EMAIL)
    token = (await service.mailbox.wait(EMAIL, 2)).token
    await service.call("ResetPassword", token=token, new_password=NEW_PASSWORD)
    assert (await service.log_in(password=NEW_PASSWORD)).access_token


async def test_guesses_of_the_present_password_are_limited(service: Service) -> None:
    me = service.of(await service.verified())
    for _ in range(FREE_GUESSES):
        call = me.call("ChangeEmail", email="x@example.com", password=WRONG)
        assert await reason(call) == "CREDENTIALS_INVALID"
    await lengthen_delays(service, FREE_GUESSES)
    call = me.call("ChangeEmail", email="x@example.com", password=PASSWORD)
    assert await reason(call) == "TOO_MANY_ATTEMPTS"


@pytest.mark.parametrize("method", ["SignUp", "ResendVerification", "RequestPasswordReset"])
async def test_one_recipient_gets_few_mails(service: Service, method: str) -> None:
    fields = {"email": EMAIL} | ({"password": PASSWORD} if method == "SignUp" else {})
    for _ in range(5):
        await service.call(method, **fields)
    assert await reason(service.call(method, **fields)) == "TOO_MANY_ATTEMPTS"
    await service.call(method, **fields | {"email": "other@example.com"})


async def test_a_refused_call_costs_neither_statements_nor_hashes(service: Service) -> None:
    await exhaust(service)
    await reason(service.log_in(password=WRONG))
    service.hasher.count = 0
    await service.parts.outbox.stop()
    async with statements(service) as found:
        assert await reason(service.log_in(password=WRONG)) == "TOO_MANY_ATTEMPTS"
    assert (found, service.hasher.count) == ([], 0)


async def test_a_flood_from_one_address_costs_few_hashes_and_refuses_nobody_else(
    database_url: str, tmp_path: Path
) -> None:
    """A client sends 500 guesses for 100 accounts at the same time."""
    async with running(database_url, tmp_path, accounts_guesses_per_address=20) as service:
        await service.verified()
        service.hasher.count = 0
        attacker = service.at("198.51.100.7")
        flood = [
            asyncio.ensure_future(reason(attacker.log_in(f"a{number % 100}@example.com", WRONG)))
            for number in range(500)
        ]
        for _ in range(5):
            assert (await service.log_in()).access_token
        reasons = Counter(await asyncio.gather(*flood))
    assert set(reasons) == {"CREDENTIALS_INVALID", "TOO_MANY_ATTEMPTS"}
    # The free guesses, and those after delays of 1 s, 2 s, 4 s and so on.
    assert reasons["CREDENTIALS_INVALID"] <= 20 + 10
    assert service.hasher.count == reasons["CREDENTIALS_INVALID"] + 5


async def test_a_class_that_logs_in_at_the_same_time_is_admitted(service: Service) -> None:
    await service.verified()
    results = await asyncio.gather(*(service.log_in() for _ in range(40)))
    assert len(results) == 40


async def test_attempts_at_the_same_time_are_all_counted(database: Database) -> None:
    store, hour = AttemptStore(database), timedelta(hours=1)
    limits = [Limit("login", Scope.ACCOUNT, EMAIL, Policy(FREE_GUESSES, hour, hour, hour))]
    admitted = await asyncio.gather(*(store.admit(limits) for _ in range(20)))
    assert sum(not refusals for refusals in admitted) == FREE_GUESSES


async def test_attempts_and_successes_in_any_order_do_not_deadlock(database: Database) -> None:
    store = AttemptStore(database)
    subjects = [guess_limits("login", f"{name}@example.com", ADDRESS, 0) for name in "abc"]

    async def repeat(call: Callable[[Sequence[Limit]], Awaitable[object]]) -> None:
        for number in range(30):
            await call(subjects[number % 3])

    calls = (store.admit, store.succeed, store.forget)
    await asyncio.gather(*(repeat(call) for call in calls for _ in range(3)))


async def test_records_without_a_count_expire(database: Database) -> None:
    store = AttemptStore(database)
    await store.admit(guess_limits("login", EMAIL, ADDRESS, 0))
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT expire_time - now() AS left FROM accounts.attempts ORDER BY 1"
        )
    assert [round(row["left"].total_seconds(), -1) for row in rows] == [10, 600, 600]

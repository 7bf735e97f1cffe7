"""The second factor: its set-up, its codes, and the limits on guesses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import insert, select, update

from services.accounts import totp
from services.accounts.errors import SecondFactorRequired, TooManyAttempts
from services.accounts.sealing import Sealer
from services.accounts.second_factor import Proof, SecondFactor
from services.accounts.store.second_factors import FREE_ATTEMPTS
from services.accounts.tables import accounts, audit, recovery_codes
from services.runtime.callers import new_guest_token
from services.runtime.database import Database
from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.serving import SECRET, Accounts, identity, serving

ACCOUNT = UUID(int=7)
CALLER = identity(ACCOUNT)
GUEST_TOKEN = new_guest_token()


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Accounts]:
    async with serving(database, {}) as service:
        async with database.transaction() as connection:
            await connection.execute(
                insert(accounts).values(
                    account_id=ACCOUNT, email="kim@example.com", email_verified=True
                )
            )
        yield service


async def check(service: Accounts, code: str) -> bool:
    """Whether a login with the code is accepted."""
    try:
        await service.parts.second_factor.check(ACCOUNT, Proof(code), "192.0.2.1")
    except SecondFactorRequired:
        return False
    return True


async def end_pause(database: Database) -> None:
    """Let the pause after wrong codes end."""
    async with database.transaction() as connection:
        await connection.execute(update(accounts).values(totp_retry_time=accounts.c.create_time))


async def test_an_account_without_a_second_factor_needs_no_code(service: Accounts) -> None:
    assert await check(service, "")


async def test_an_enrolment_alone_changes_no_login(service: Accounts) -> None:
    await service.call("EnrollTotp", pb.EnrollTotpRequest(), metadata=CALLER)
    assert await check(service, "")


async def test_a_wrong_code_confirms_nothing(service: Accounts) -> None:
    await service.call("EnrollTotp", pb.EnrollTotpRequest(), metadata=CALLER)
    refused = await service.refused(
        "ConfirmTotp", pb.ConfirmTotpRequest(code="12345x"), metadata=CALLER
    )
    assert refused == "TOTP_CODE_INVALID"
    assert await check(service, "")


async def test_a_confirmed_app_is_needed_at_each_login(service: Accounts) -> None:
    secret = await service.enrol(ACCOUNT)
    assert not await check(service, "")
    assert await check(service, service.code(secret, steps=1))


async def test_a_code_is_valid_once(service: Accounts) -> None:
    secret = await service.enrol(ACCOUNT)
    code = service.code(secret, steps=1)
    assert await check(service, code)
    assert not await check(service, code)


async def test_the_code_that_confirmed_the_app_is_used_up(service: Accounts) -> None:
    secret = await service.enrol(ACCOUNT)
    assert not await check(service, service.code(secret))


async def test_a_code_older_than_the_last_accepted_one_is_refused(service: Accounts) -> None:
    secret = await service.enrol(ACCOUNT)
    service.clock.shift = 300.0
    older, newer = service.code(secret, steps=-1), service.code(secret)
    assert await check(service, newer)
    assert not await check(service, older)


async def test_simultaneous_logins_cannot_share_a_code(service: Accounts) -> None:
    secret = await service.enrol(ACCOUNT)
    code = service.code(secret, steps=1)
    accepted = await asyncio.gather(*(check(service, code) for _ in range(FREE_ATTEMPTS - 1)))
    assert sorted(accepted) == [False] * (FREE_ATTEMPTS - 2) + [True]


async def test_a_free_attempt_delays_no_transaction_that_began_before_it(
    service: Accounts, database: Database
) -> None:
    await service.enrol(ACCOUNT)
    assert not await check(service, "000000")
    async with database.transaction() as connection:
        retry_time = (await connection.execute(select(accounts.c.totp_retry_time))).scalar_one()
    assert retry_time is None


async def test_a_recovery_code_replaces_the_app_once(service: Accounts) -> None:
    codes = await service.set_up_second_factor(ACCOUNT)
    assert await check(service, codes[3].upper())
    assert not await check(service, codes[3])
    assert await check(service, codes[4])


async def test_the_database_has_neither_the_secret_nor_the_recovery_codes(
    service: Accounts, database: Database
) -> None:
    secret = await service.enrol(ACCOUNT)
    async with database.transaction() as connection:
        stored = (await connection.execute(select(accounts.c.totp_secret))).scalar_one()
        hashes = (await connection.scalars(select(recovery_codes.c.code_hash))).all()
    assert secret not in stored
    assert set(hashes) == set(map(totp.recovery_code_hash, service.recovery_codes))


async def test_guesses_are_slowed_down(service: Accounts) -> None:
    await service.enrol(ACCOUNT)
    for _ in range(FREE_ATTEMPTS):
        assert not await check(service, "000000")
    with pytest.raises(TooManyAttempts) as refused:
        await check(service, "000000")
    assert 0 < (refused.value.retry_seconds or 0) <= 30


async def test_the_pause_holds_also_for_the_right_code(service: Accounts) -> None:
    secret = await service.enrol(ACCOUNT)
    for _ in range(FREE_ATTEMPTS):
        await check(service, "000000")
    with pytest.raises(TooManyAttempts):
        await check(service, service.code(secret, steps=1))


async def test_a_right_code_ends_the_count_of_wrong_ones(
    service: Accounts, database: Database
) -> None:
    secret = await service.enrol(ACCOUNT)
    for _ in range(FREE_ATTEMPTS):
        await check(service, "000000")
    await end_pause(database)
    assert await check(service, service.code(secret, steps=1))
    assert not await check(service, "000000")
    assert not await check(service, "000000")


async def test_a_second_app_needs_the_removal_of_the_first(service: Accounts) -> None:
    secret = await service.enrol(ACCOUNT)
    request = pb.EnrollTotpRequest()
    assert await service.refused("EnrollTotp", request, metadata=CALLER) == "SECOND_FACTOR_EXISTS"
    removal = pb.RemoveTotpRequest(code=service.code(secret, steps=1))
    await service.call("RemoveTotp", removal, metadata=CALLER)
    assert await check(service, "")
    await service.call("EnrollTotp", request, metadata=CALLER)


async def test_a_removal_needs_a_code(service: Accounts) -> None:
    await service.enrol(ACCOUNT)
    request = pb.RemoveTotpRequest(code="000000")
    assert await service.refused("RemoveTotp", request, metadata=CALLER) == "TOTP_CODE_INVALID"


@pytest.mark.parametrize("rpc", ["EnrollTotp", "ConfirmTotp", "RemoveTotp"])
async def test_guests_have_no_second_factor(service: Accounts, rpc: str) -> None:
    guest = (("x-sori-caller", "guest"), ("x-sori-guest-token", GUEST_TOKEN))
    request = getattr(pb, f"{rpc}Request")()
    assert await service.refused(rpc, request, metadata=guest) == "CREDENTIALS_MISSING"


async def test_changes_are_in_the_audit_log(service: Accounts, database: Database) -> None:
    codes = await service.set_up_second_factor(ACCOUNT)
    await service.call("RemoveTotp", pb.RemoveTotpRequest(code=codes[0]), metadata=CALLER)
    query = (
        select(audit.c.action)
        .where(audit.c.account_id == str(ACCOUNT))
        .order_by(audit.c.entry_id.desc())
        .limit(3)
    )
    async with database.transaction() as connection:
        actions = (await connection.scalars(query)).all()
    assert list(reversed(actions)) == [
        "confirm_second_factor",
        "use_recovery_code",
        "remove_second_factor",
    ]


async def test_codes_hold_while_the_services_secret_is_replaced(
    service: Accounts, database: Database
) -> None:
    secret = await service.enrol(ACCOUNT)
    passkeys = service.parts.passkeys
    replaced = SecondFactor(database, Sealer("a new secret of this service", SECRET), passkeys)
    await replaced.check(ACCOUNT, Proof(service.code(secret, steps=1)), "")
    service.clock.shift = 300.0
    sealer = Sealer("a new secret of this service")
    final = SecondFactor(database, sealer, passkeys, clock=service.clock.now)
    await final.check(ACCOUNT, Proof(service.code(secret)), "")

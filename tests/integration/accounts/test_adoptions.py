"""A guest who signs up keeps the takes, whatever fails meanwhile."""

from __future__ import annotations

from uuid import UUID

import pytest

from services.accounts.owner_tasks import Adopter
from services.accounts.store import AdoptionStore, remember_guest
from tests.integration.accounts.service import HOME, Service

GUEST = "guest:0123456789abcdefghijklmn"


async def signed_up(service: Service, guest: str = GUEST) -> UUID:
    """Create the account of a guest."""
    account_id = await service.new_account()
    async with service.parts.database.transaction() as connection:
        await remember_guest(connection, guest, account_id)
    return account_id


async def run(service: Service) -> bool:
    """Run the task once; returns whether an adoption was due."""
    parts = service.parts
    store = AdoptionStore(parts.database)
    return await Adopter(store, uploads=parts.uploads, analyses=parts.analyses).run_once()


async def make_due(service: Service) -> None:
    await service.execute("UPDATE accounts.adoptions SET due_time = now()")


async def test_the_takes_belong_to_the_account_after_its_first_login(service: Service) -> None:
    service.analyses.owned[GUEST], service.uploads.owned[GUEST] = 2, 1
    account_id = await signed_up(service)
    assert not await run(service)
    await service.logged_in(account_id)
    assert await run(service)
    assert service.analyses.owned[str(account_id)] == 2
    assert service.uploads.owned[str(account_id)] == 1
    assert not service.analyses.owned[GUEST]


async def test_a_take_that_the_guest_was_still_uploading_is_found_later(service: Service) -> None:
    account_id = await signed_up(service)
    await service.logged_in(account_id)
    assert await run(service)
    assert not await run(service)
    service.analyses.owned[GUEST] = 1
    await make_due(service)
    assert await run(service)
    assert service.analyses.owned[str(account_id)] == 1
    assert await service.value("SELECT count(*) FROM accounts.adoptions") == 0


@pytest.mark.parametrize("name", ["analyses", "uploads"])
async def test_an_outage_only_delays_an_adoption(service: Service, name: str) -> None:
    stored = getattr(service, name)
    stored.owned[GUEST], stored.is_down = 1, True
    account_id = await signed_up(service)
    await service.logged_in(account_id)
    assert await run(service)
    assert not stored.owned[str(account_id)]
    stored.is_down = False
    await make_due(service)
    assert await run(service)
    assert stored.owned[str(account_id)] == 1


async def test_a_guest_belongs_to_the_first_account_only(service: Service) -> None:
    service.analyses.owned[GUEST] = 1
    first, second = await signed_up(service), await signed_up(service)
    await service.logged_in(second)
    assert not await run(service)
    await service.logged_in(first)
    assert await run(service)
    assert service.analyses.owned[str(first)] == 1


async def test_a_deleted_account_adopts_nothing(service: Service) -> None:
    account_id = await signed_up(service)
    await service.logged_in(account_id)
    await service.parts.erasures.begin(account_id, HOME)
    assert not await run(service)

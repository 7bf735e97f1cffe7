"""A deleted account: everything of it is erased in all services, and the receipt says so."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import grpc
import pytest

from services.accounts.owner_tasks import Eraser
from services.accounts.store import ErasureStore
from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.service import HOME, Service, of_account, of_nobody, reason_of

TABLES_OF_ACCOUNTS = (
    *("accounts", "identities", "sessions", "roles", "recovery_codes", "mail_tokens", "mails"),
    *("adoptions",),
)


async def deleted(service: Service, account_id: UUID) -> UUID:
    """Delete an account; returns the id of the receipt."""
    return (await service.parts.erasures.begin(account_id, HOME)).erasure_id


async def receipt(service: Service, erasure_id: UUID) -> pb.Erasure:
    request = pb.GetErasureRequest(erasure_id=str(erasure_id))
    found: pb.Erasure = await service.rpcs.GetErasure(request, metadata=of_nobody())
    return found


async def run(service: Service, *, tokens_have_expired: bool = True) -> None:
    """Run the task once for each erasure that is due."""
    if tokens_have_expired:
        await service.execute(
            "UPDATE accounts.erasures SET request_time = request_time - interval '1 hour'"
        )
    await service.execute("UPDATE accounts.erasures SET due_time = now() WHERE due_time > now()")
    parts = service.parts
    eraser = Eraser(
        parts.erasures, uploads=parts.uploads, analyses=parts.analyses, pictures=parts.pictures
    )
    assert await eraser.run_once()


async def test_everything_of_the_account_is_erased(service: Service) -> None:
    account_id = await service.new_account()
    await service.logged_in(account_id)
    service.analyses.owned[str(account_id)] = 5
    service.uploads.owned[str(account_id)] = 3
    erasure_id = await deleted(service, account_id)
    await run(service)
    found = await receipt(service, erasure_id)
    assert (found.erased_analyses, found.erased_uploads) == (5, 3)
    assert found.HasField("complete_time")
    assert not service.analyses.owned.total()
    assert not service.uploads.owned.total()
    for table in TABLES_OF_ACCOUNTS:
        assert await service.value(f"SELECT count(*) FROM accounts.{table}") == 0, table


async def test_the_receipt_has_no_personal_data(service: Service) -> None:
    account_id = await service.new_account("dana@example.com")
    erasure_id = await deleted(service, account_id)
    await run(service)
    row = await service.value(
        "SELECT e::text FROM accounts.erasures e WHERE erasure_id = :id", id=erasure_id
    )
    assert str(account_id) not in row
    audit = await service.value("SELECT string_agg(a::text, ' ') FROM accounts.audit a")
    assert "delete_account" in audit
    assert HOME not in audit
    assert "dana" not in audit


async def test_personal_data_is_gone_at_once_and_the_address_is_free(service: Service) -> None:
    account_id = await service.new_account("dana@example.com")
    await service.execute("UPDATE accounts.accounts SET name = 'Dana', password_hash = 'x'")
    await deleted(service, account_id)
    row = await service.value("SELECT a::text FROM accounts.accounts a")
    assert "Dana" not in row
    assert "dana" not in row
    await service.new_account("dana@example.com")


async def test_an_erasure_waits_until_nothing_is_stored_any_more(service: Service) -> None:
    account_id = await service.new_account()
    service.analyses.owned[str(account_id)], service.analyses.pending = 1, 1
    erasure_id = await deleted(service, account_id)
    await run(service)
    found = await receipt(service, erasure_id)
    assert not found.HasField("complete_time")
    assert found.erased_analyses == 1
    service.analyses.pending = 0
    await run(service)
    assert (await receipt(service, erasure_id)).HasField("complete_time")


async def test_takes_that_arrive_with_the_last_access_token_are_erased_too(
    service: Service,
) -> None:
    account_id = await service.new_account()
    erasure_id = await deleted(service, account_id)
    await run(service, tokens_have_expired=False)
    assert not (await receipt(service, erasure_id)).HasField("complete_time")
    service.uploads.owned[str(account_id)] = 1
    await run(service)
    found = await receipt(service, erasure_id)
    assert found.HasField("complete_time")
    assert found.erased_uploads == 1


@pytest.mark.parametrize("name", ["analyses", "uploads"])
async def test_an_outage_of_another_service_only_delays_an_erasure(
    service: Service, name: str
) -> None:
    stored = getattr(service, name)
    account_id = await service.new_account()
    stored.owned[str(account_id)], stored.is_down = 1, True
    erasure_id = await deleted(service, account_id)
    await run(service)
    assert not (await receipt(service, erasure_id)).HasField("complete_time")
    stored.is_down = False
    await run(service)
    assert (await receipt(service, erasure_id)).HasField("complete_time")
    assert not stored.owned.total()


async def test_two_processes_do_not_work_on_one_erasure(service: Service) -> None:
    await deleted(service, await service.new_account())
    other = ErasureStore(service.parts.database, token_seconds=600)
    assert await service.parts.erasures.claim() is not None
    assert await other.claim() is None


async def test_overdue_erasures_are_counted(service: Service) -> None:
    await deleted(service, await service.new_account())
    assert await service.parts.erasures.overdue() == 0
    await service.execute("UPDATE accounts.erasures SET deadline = now() - interval '1 second'")
    assert await service.parts.erasures.overdue() == 1


async def test_an_unknown_receipt_is_not_found(service: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await receipt(service, uuid4())
    assert reason_of(refused.value) == "ERASURE_NOT_FOUND"


async def test_the_export_has_the_account_its_sessions_and_analyses(service: Service) -> None:
    account_id = await service.new_account("dana@example.com")
    begun = await service.logged_in(account_id)
    service.analyses.owned[str(account_id)] = 3
    call = service.rpcs.ExportMe(pb.ExportMeRequest(), metadata=of_account(account_id))
    document = json.loads(b"".join([piece.data async for piece in call]))
    assert document["account"]["email"] == "dana@example.com"
    assert [each["session_id"] for each in document["sessions"]] == [begun.session_id]
    assert len(document["analyses"]) == 3
    assert begun.refresh_token not in json.dumps(document)


async def test_the_pictures_of_a_deleted_account_are_erased(service: Service) -> None:
    account_id = await service.new_account()
    prefix = f"pictures/{account_id}/"
    # The second one is of an upload that the service does not know of.
    keys = [f"{prefix}{uuid4()}" for _ in range(2)]
    for key in keys:
        await service.objects.put(key, b"picture", "image/png")
    request = pb.SetPictureRequest(
        account_id=str(account_id), object_key=keys[0], content_type="image/png", size=7
    )
    await service.pictures.SetPicture(request)
    await deleted(service, account_id)
    await run(service)
    assert await service.objects.list_page(prefix, after="", limit=10) == ([], False)
    assert await service.value("SELECT count(*) FROM accounts.former_pictures") == 0

"""The picture of an account: set by the upload service, read by its owner, deleted in S3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import grpc
import pytest

from services.accounts.pictures import FormerPictures
from services.accounts.store import PictureStore
from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectMissing
from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.service import Service, of_account, reason_of

PNG = b"\x89PNG\r\n\x1a\n"


async def stored(service: Service, account_id: UUID, content: bytes = PNG) -> str:
    """Store an object, as the upload service does; returns its key."""
    key = f"pictures/{account_id}/{uuid4()}"
    await service.objects.put(key, content, "image/png")
    return key


def request_of(account_id: UUID, key: str) -> pb.SetPictureRequest:
    return pb.SetPictureRequest(
        account_id=str(account_id), object_key=key, content_type="image/png", size=len(PNG)
    )


async def set_picture(service: Service, account_id: UUID, key: str) -> None:
    await service.pictures.SetPicture(request_of(account_id, key))


async def released(service: Service, account_id: UUID, key: str) -> bool:
    request = pb.ReleasePictureRequest(account_id=str(account_id), object_key=key)
    answer: pb.ReleasePictureResponse = await service.pictures.ReleasePicture(request)
    return answer.in_use


async def me(service: Service, account_id: UUID) -> pb.Account:
    found: pb.Account = await service.rpcs.GetMe(pb.GetMeRequest(), metadata=of_account(account_id))
    return found


async def delete_former(service: Service) -> None:
    store = PictureStore(service.parts.database)
    await FormerPictures(store, service.parts.pictures).run_once()


async def exists(service: Service, key: str) -> bool:
    try:
        await service.objects.size(key)
    except ObjectMissing:
        return False
    return True


async def picture_key(service: Service, account_id: UUID) -> str | None:
    key: str | None = await service.value(
        "SELECT picture_key FROM accounts.accounts WHERE account_id = :id", id=account_id
    )
    return key


async def test_the_owner_gets_a_url_of_the_picture_that_expires(service: Service) -> None:
    account_id = await service.new_account()
    await set_picture(service, account_id, await stored(service, account_id))
    picture = (await me(service, account_id)).picture
    assert (picture.content_type, picture.size) == ("image/png", len(PNG))
    assert "X-Amz-Expires=3600" in picture.url
    async with aiohttp.ClientSession() as session, session.get(picture.url) as answer:
        assert (await answer.read(), answer.content_type) == (PNG, "image/png")


async def test_an_account_without_a_picture_has_none(service: Service) -> None:
    account_id = await service.new_account()
    assert not (await me(service, account_id)).HasField("picture")


async def test_an_update_of_the_profile_keeps_the_picture(service: Service) -> None:
    account_id = await service.new_account()
    await set_picture(service, account_id, await stored(service, account_id))
    request = pb.UpdateMeRequest(account=pb.Account(name="다나", picture=pb.Picture(url="x")))
    updated = await service.rpcs.UpdateMe(request, metadata=of_account(account_id))
    assert (updated.name, updated.picture.size) == ("다나", len(PNG))
    assert updated.picture.url != "x"


async def test_a_new_picture_deletes_the_former_object(service: Service) -> None:
    account_id = await service.new_account()
    old, new = [await stored(service, account_id) for _ in range(2)]
    await set_picture(service, account_id, old)
    await set_picture(service, account_id, new)
    await delete_former(service)
    assert not await exists(service, old)
    assert await exists(service, new)
    assert await picture_key(service, account_id) == new


async def test_a_removed_picture_is_deleted(service: Service) -> None:
    account_id = await service.new_account()
    key = await stored(service, account_id)
    await set_picture(service, account_id, key)
    for _ in range(2):
        await service.rpcs.DeletePicture(pb.DeletePictureRequest(), metadata=of_account(account_id))
    await delete_former(service)
    assert not await exists(service, key)
    assert not (await me(service, account_id)).HasField("picture")


async def test_a_repeated_call_changes_nothing(service: Service) -> None:
    account_id = await service.new_account()
    key = await stored(service, account_id)
    for _ in range(2):
        await set_picture(service, account_id, key)
    await delete_former(service)
    assert await exists(service, key)


async def test_a_late_repeat_does_not_bring_a_replaced_picture_back(service: Service) -> None:
    account_id = await service.new_account()
    old, new = [await stored(service, account_id) for _ in range(2)]
    for key in (old, new):
        await set_picture(service, account_id, key)
    await delete_former(service)
    await set_picture(service, account_id, old)
    assert await picture_key(service, account_id) == new


async def test_an_object_in_use_is_not_released(service: Service) -> None:
    account_id = await service.new_account()
    key = await stored(service, account_id)
    await set_picture(service, account_id, key)
    assert await released(service, account_id, key)
    assert await picture_key(service, account_id) == key


async def test_a_released_object_does_not_become_the_picture(service: Service) -> None:
    account_id = await service.new_account()
    key = await stored(service, account_id)
    assert not await released(service, account_id, key)
    await set_picture(service, account_id, key)
    assert await picture_key(service, account_id) is None


async def test_the_object_of_an_unknown_account_can_be_released(service: Service) -> None:
    account_id = uuid4()
    assert not await released(service, account_id, f"pictures/{account_id}/{uuid4()}")


async def test_a_deletion_waits_for_the_object_store(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = await service.new_account()
    old, new = [await stored(service, account_id) for _ in range(2)]
    for key in (old, new):
        await set_picture(service, account_id, key)

    async def refused(_: str) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as outage:
        outage.setattr(service.objects, "delete", refused)
        await delete_former(service)
    assert await exists(service, old)
    await service.execute("UPDATE accounts.former_pictures SET due_time = now()")
    await delete_former(service)
    assert not await exists(service, old)


async def test_a_deleted_account_gets_no_picture(service: Service) -> None:
    account_id = await service.new_account()
    await service.parts.erasures.begin(account_id, "192.0.2.1")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await set_picture(service, account_id, await stored(service, account_id))
    assert reason_of(refused.value) == "ACCOUNT_NOT_FOUND"


@pytest.mark.parametrize(
    "changes",
    [
        {"account_id": "x"},
        {"object_key": "recordings/1"},
        {"object_key": f"pictures/{UUID(int=1)}/{UUID(int=2)}"},
        {"content_type": "text/html"},
        {"size": -1},
    ],
    ids=["account", "recording", "picture of another account", "media type", "size"],
)
async def test_a_call_with_an_invalid_field_is_refused(
    service: Service, changes: Mapping[str, Any]
) -> None:
    account_id = await service.new_account()
    request = request_of(account_id, f"pictures/{account_id}/{uuid4()}")
    request.MergeFrom(pb.SetPictureRequest(**changes))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.pictures.SetPicture(request)
    assert reason_of(refused.value) == "INVALID_FIELD"


async def test_the_gateway_lets_no_client_set_a_picture(service: Service) -> None:
    account_id = await service.new_account()
    request = pb.SetPictureRequest(account_id=str(account_id))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.pictures.SetPicture(request, metadata=of_account(account_id, "operator"))
    assert refused.value.code() in (
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
    )

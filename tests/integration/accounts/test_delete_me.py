"""A learner deletes the account with the password, and is logged out at once."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import Message

from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.service import HOME, Service, of_account, of_nobody, reason_of

PASSWORD = "correct horse battery"


async def refusal(service: Service, metadata: tuple[tuple[str, str], ...], password: str) -> str:
    """The reason why DeleteMe is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.rpcs.DeleteMe(pb.DeleteMeRequest(password=password), metadata=metadata)
    return reason_of(refused.value)


async def test_an_account_is_deleted_only_with_its_password(service: Service) -> None:
    account_id = await service.new_account()
    await service.execute(
        "UPDATE accounts.accounts SET password_hash = :hash",
        hash=await service.parts.passwords.hash(PASSWORD, ""),
    )
    metadata = of_account(account_id)
    assert await refusal(service, metadata, "wrong password") == "CREDENTIALS_INVALID"
    request = pb.DeleteMeRequest(password=PASSWORD)
    erasure = await service.rpcs.DeleteMe(request, metadata=metadata)
    assert erasure.deadline.seconds - erasure.request_time.seconds == 24 * 3600
    found = await service.rpcs.GetErasure(
        pb.GetErasureRequest(erasure_id=erasure.erasure_id), metadata=of_nobody()
    )
    assert found == erasure


async def test_an_account_without_a_password_is_deleted_without_one(service: Service) -> None:
    account_id = await service.new_account()
    erasure = await service.rpcs.DeleteMe(pb.DeleteMeRequest(), metadata=of_account(account_id))
    assert erasure.erasure_id


async def test_the_access_token_of_a_deleted_account_does_nothing(service: Service) -> None:
    account_id = await service.new_account()
    await service.rpcs.DeleteMe(pb.DeleteMeRequest(), metadata=of_account(account_id))
    assert await refusal(service, of_account(account_id), "") == "CREDENTIALS_MISSING"
    call = service.rpcs.ExportMe(pb.ExportMeRequest(), metadata=of_account(account_id))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        [piece async for piece in call]
    assert reason_of(refused.value) == "CREDENTIALS_MISSING"


@pytest.mark.parametrize(
    ("rpc", "request_message"),
    [
        ("GetMe", pb.GetMeRequest()),
        ("UpdateMe", pb.UpdateMeRequest(account=pb.Account(name="다나"))),
        ("DeletePicture", pb.DeletePictureRequest()),
        ("ChangePassword", pb.ChangePasswordRequest(new_password="another horse battery")),
        ("ChangeEmail", pb.ChangeEmailRequest(email="new@example.com")),
        ("DeleteMe", pb.DeleteMeRequest()),
        ("EnrollTotp", pb.EnrollTotpRequest()),
        ("ConfirmTotp", pb.ConfirmTotpRequest(code="123456")),
        ("RemoveTotp", pb.RemoveTotpRequest(code="123456")),
    ],
)
async def test_the_token_of_a_deleted_account_gives_no_access(
    service: Service, rpc: str, request_message: Message
) -> None:
    account_id = await service.new_account()
    await service.parts.erasures.begin(account_id, HOME)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(service.rpcs, rpc)(request_message, metadata=of_account(account_id))
    assert reason_of(refused.value) == "CREDENTIALS_MISSING"

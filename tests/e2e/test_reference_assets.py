"""Reference assets are uploaded like recordings and replace the ones before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.e2e.product import AUDIO, Product, error_info

VOICE = (AUDIO / "ref_0890.wav").read_bytes()
PITCH = b'{"hertz": [110.0, 112.5]}'


def post(gateway: httpx.Client, token_id: int, kind: str, content: bytes) -> httpx.Response:
    return gateway.post(f"/tokens/{token_id}/reference-assets/{kind}", files={"file": content})


def token(gateway: httpx.Client, token_id: int) -> dict[str, Any]:
    answer: dict[str, Any] = gateway.get(f"/tokens/{token_id}?view=TOKEN_VIEW_FULL").json()
    return answer


@pytest.mark.parametrize(
    ("kind", "content", "content_type"),
    [
        ("voice", VOICE, "audio/wav"),
        ("background", VOICE, "audio/wav"),
        ("pitch", PITCH, "application/json"),
        ("alignment", b" [1, 2]", "application/json"),
    ],
)
def test_an_asset_can_be_downloaded_unchanged(
    gateway: httpx.Client, held_token: int, kind: str, content: bytes, content_type: str
) -> None:
    answer = post(gateway, held_token, kind, content)
    assert answer.status_code == 200, answer.text
    assert answer.json()["content_type"] == content_type
    asset = token(gateway, held_token)["reference_assets"][kind]
    assert asset["object_key"] == answer.json()["object_key"]
    assert httpx.get(asset["url"]).content == content


def test_replacing_an_asset_raises_the_revision_of_the_token(
    gateway: httpx.Client, held_token: int
) -> None:
    first = post(gateway, held_token, "voice", VOICE).json()
    second = post(gateway, held_token, "voice", VOICE).json()
    assert second["token_revision"] > first["token_revision"]
    assert second["object_key"] != first["object_key"]
    assert token(gateway, held_token)["revision"] == second["token_revision"]


def test_replacing_an_asset_keeps_the_others(gateway: httpx.Client, held_token: int) -> None:
    pitch = post(gateway, held_token, "pitch", PITCH).json()
    post(gateway, held_token, "voice", VOICE)
    assets = token(gateway, held_token)["reference_assets"]
    assert assets["pitch"]["object_key"] == pitch["object_key"]


def test_an_asset_can_be_uploaded_by_a_grpc_stream(
    gateway: httpx.Client, channel: grpc.Channel, held_token: int
) -> None:
    def messages() -> Iterator[pb.UploadReferenceAssetRequest]:
        metadata = pb.UploadReferenceAssetMetadata(token_id=held_token, kind=pb.ASSET_KIND_VOICE)
        yield pb.UploadReferenceAssetRequest(metadata=metadata)
        yield pb.UploadReferenceAssetRequest(chunk=VOICE)
        yield pb.UploadReferenceAssetRequest(finish=pb.UploadAudioFinish(size=len(VOICE)))

    answer = upload_pb2_grpc.UploadServiceStub(channel).UploadReferenceAsset(messages())
    assert token(gateway, held_token)["reference_assets"]["voice"]["object_key"] == (
        answer.object_key
    )


@pytest.mark.parametrize(
    ("kind", "content", "status", "reason"),
    [
        ("voice", b"no audio", 415, "UNSUPPORTED_AUDIO"),
        ("pitch", VOICE, 415, "UNSUPPORTED_ASSET"),
        ("voice", b"", 400, "EMPTY_RECORDING"),
        ("face", VOICE, 400, "INVALID_FIELD"),
    ],
)
def test_an_invalid_asset_is_refused_and_changes_nothing(
    product: Product, held_token: int, kind: str, content: bytes, status: int, reason: str
) -> None:
    before = token(product.gateway, held_token)
    answer = post(product.gateway, held_token, kind, content)
    assert (answer.status_code, error_info(answer)["reason"]) == (status, reason)
    assert token(product.gateway, held_token) == before
    assert product.object_keys(f"references/{held_token}/") == []


def test_an_asset_for_an_unknown_token_is_refused(gateway: httpx.Client) -> None:
    answer = post(gateway, 2_000_000_000, "voice", VOICE)
    assert answer.status_code == 404
    assert error_info(answer)["reason"] == "TOKEN_NOT_FOUND"


def test_an_interrupted_stream_leaves_nothing_in_s3(
    product: Product, channel: grpc.Channel, held_token: int
) -> None:
    def messages() -> Iterator[pb.UploadReferenceAssetRequest]:
        metadata = pb.UploadReferenceAssetMetadata(token_id=held_token, kind=pb.ASSET_KIND_VOICE)
        yield pb.UploadReferenceAssetRequest(metadata=metadata)
        yield pb.UploadReferenceAssetRequest(chunk=VOICE)

    with pytest.raises(grpc.RpcError) as error:
        upload_pb2_grpc.UploadServiceStub(channel).UploadReferenceAsset(messages())
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert product.object_keys(f"references/{held_token}/") == []

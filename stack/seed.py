"""The sample catalog: three sentences to practise, so that a fresh stack can be tried."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc
from stack.errors import StackError
from stack.s3 import S3

SAMPLES = Path(__file__).parents[1] / "samples"
SAMPLE_TAKE = SAMPLES / "take_0890_close.webm"
"""A take of token 1."""

_TIMEOUT_SECONDS = 10.0
_READER = pb.Actor(name="LibriVox reader", aliases=["리브리복스 낭독자"])


@dataclass(frozen=True)
class Sample:
    """One sentence of the samples: its recording's name, and what a learner reads."""

    name: str
    title: str
    translation: str


# In the order of their tokens: the sample take is of the first.
SAMPLE_SENTENCES = (
    Sample(
        "ref_0890",
        "Sense and Sensibility: ill disposed",
        "다소 냉정하고 다소 이기적인 것이 곧 심성이 나쁜 것이라면 모를까.",
    ),
    Sample(
        "ref_0870",
        "Sense and Sensibility: prudently in his power",
        "그제야 존 대시우드 씨는 자신이 분별 있게 그들을 위해 해 줄 수 있는 일이"
        " 얼마나 될지 찬찬히 따져 볼 여유가 생겼다.",
    ),
    Sample(
        "ref_0930",
        "Sense and Sensibility: made amiable himself",
        "그 사람 자신도 상냥한 사람이 될 수 있었을지 모른다.",
    ),
)


def seed(catalog_address: str, s3: S3) -> bool:
    """Create the sample catalog through the API; False when there are tokens already."""
    with grpc.insecure_channel(catalog_address, [("grpc.enable_http_proxy", 0)]) as channel:
        catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        if _has_tokens(catalog):
            return False
        references = {each["file"]: each for each in json.loads(_read("references.json"))}
        actor_id = _seed_actor(catalog)
        for sample in SAMPLE_SENTENCES:
            _seed_token(catalog, s3, actor_id, sample, references[f"{sample.name}.wav"])
    return True


def _has_tokens(catalog: catalog_pb2_grpc.CatalogServiceStub) -> bool:
    try:
        catalog.GetToken(pb.GetTokenRequest(id=1), timeout=_TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            return False
        raise
    return True


def _seed_actor(catalog: catalog_pb2_grpc.CatalogServiceStub) -> int:
    try:
        request = pb.CreateActorRequest(actor=_READER)
        return catalog.CreateActor(request, timeout=_TIMEOUT_SECONDS).id
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.ALREADY_EXISTS:
            raise
    # An earlier seeding was cut short after its first step.
    return catalog.GetActor(pb.GetActorRequest(id=1), timeout=_TIMEOUT_SECONDS).id


def _seed_token(
    catalog: catalog_pb2_grpc.CatalogServiceStub,
    s3: S3,
    actor_id: int,
    sample: Sample,
    reference: dict[str, Any],
) -> None:
    key = f"references/{sample.name}/voice.wav"
    s3.put(key, _read(f"{sample.name}.wav"))
    length = reference["end_time"]
    token = pb.Token(
        name=sample.title,
        actor_ids=[actor_id],
        category="audiobook",
        source_url="https://librivox.org/",
        start_time=0,
        end_time=length,
        reference_assets=pb.ReferenceAssets(voice=pb.ReferenceAsset(object_key=key)),
    )
    created = catalog.CreateToken(pb.CreateTokenRequest(token=token), timeout=_TIMEOUT_SECONDS)
    script = pb.Script(
        token_id=created.id,
        text=reference["script"],
        translation=sample.translation,
        language_code="en",
        start_time=0,
        end_time=length,
        words=[
            pb.Word(text=word["word"], start_time=word["start_time"], end_time=word["end_time"])
            for word in reference["words"]
        ],
    )
    catalog.CreateScript(pb.CreateScriptRequest(script=script), timeout=_TIMEOUT_SECONDS)


def _read(name: str) -> bytes:
    path = SAMPLES / name
    if not path.exists():
        raise StackError(f"{path} is missing. Get the samples folder again.")
    return path.read_bytes()

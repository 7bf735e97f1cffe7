"""The sample catalog: three sentences to practise with on a fresh stack."""

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
_READER = "LibriVox reader"
_SOURCE_URL = "https://librivox.org/"

Json = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One sentence of the samples: its recording's name, and the texts for learners."""

    name: str
    title: str
    translation: str


# In the order of their tokens; the sample take belongs to the first.
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


def seed(channel: grpc.Channel, s3: S3) -> bool:
    """Import the sample catalog, unless the catalog has tokens; returns whether it did."""
    catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
    listed = catalog.ListTokens(pb.ListTokensRequest(page_size=1), timeout=_TIMEOUT_SECONDS)
    if listed.tokens:
        return False
    lines: list[Json] = [{"actor": {"name": _READER, "aliases": ["리브리복스 낭독자"]}}]
    references = {each["file"]: each for each in json.loads(_read("references.json"))}
    for sample in SAMPLE_SENTENCES:
        recording = f"{sample.name}.wav"
        s3.put(_key(sample), _read(recording))
        lines += _lines(sample, references[recording])
    _import(catalog, lines)
    return True


def _key(sample: Sample) -> str:
    return f"references/{sample.name}/voice.wav"


def _lines(sample: Sample, reference: Json) -> list[Json]:
    """The import records of a token and its script."""
    length = reference["end_time"]
    token = {
        "name": sample.title,
        "actors": [_READER],
        "category": "audiobook",
        "source_url": _SOURCE_URL,
        "end_time": length,
        "reference_assets": {"voice": _key(sample)},
    }
    script = {
        "token": {"name": sample.title, "source_url": _SOURCE_URL},
        "text": reference["script"],
        "translation": sample.translation,
        "language_code": "en",
        "end_time": length,
        "words": [
            {"text": word["word"], "start_time": word["start_time"], "end_time": word["end_time"]}
            for word in reference["words"]
        ],
    }
    return [{"token": token}, {"script": script}]


def _import(catalog: catalog_pb2_grpc.CatalogServiceStub, lines: list[Json]) -> None:
    content = "\n".join(map(json.dumps, lines)).encode()
    requests = iter([pb.ImportCatalogRequest(chunk=content)])
    for answer in catalog.ImportCatalog(requests, timeout=_TIMEOUT_SECONDS):
        for refused in answer.refused_lines:
            raise StackError(f"Line {refused.line} of the samples is refused: {refused.reason}")


def _read(name: str) -> bytes:
    path = SAMPLES / name
    if not path.exists():
        raise StackError(f"{path} is missing. Get the samples folder again.")
    return path.read_bytes()

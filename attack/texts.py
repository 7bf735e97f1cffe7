"""Texts that cost more than they should: normalisation, decompression, endless violations."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator
from functools import partial

import httpx
from itsdangerous import URLSafeSerializer

from attack.answers import Answers
from attack.model import Outcome
from attack.rpcs import unary_rpcs
from attack.target import TIMEOUT_SECONDS, Target
from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc

_MIB = 1024**2
_MARKS = "\u0315\u0300"
# Each mark has two bytes.
_MARKS_1_MIB = "a" + _MARKS * (_MIB // 4 - 100)
_BOMB_BYTES = 400 * _MIB
_LARGEST_ANSWER_BYTES = 16 * 1024


def combining_marks_by_grpc(target: Target) -> Outcome:
    """1 MiB of combining marks in every text field of every unary rpc."""
    answers = Answers()
    with target.channel() as channel:
        for rpc in unary_rpcs():
            for field, request in rpc.requests_with(_MARKS_1_MIB):
                answers.rpc(
                    f"{rpc.name} {field}",
                    partial(rpc.call, channel, request, TIMEOUT_SECONDS),
                )
    return answers.outcome()


def combining_marks_by_http(target: Target) -> Outcome:
    """The same in JSON bodies and in a query."""
    answers = Answers()
    text = _MARKS_1_MIB[: _MIB // 3]
    with target.http() as client:
        for path, body in (
            ("/actors", {"name": text}),
            ("/actors", {"name": "a", "aliases": [text]}),
            ("/tokens", {"name": text, "source_url": "https://x.example/", "end_time": 1}),
            ("/scripts", {"token_id": 1, "text": text, "end_time": 1}),
        ):
            answers.http(f"{path} {list(body)}", partial(client.post, path, json=body))
        query = {"query": "a" + _MARKS * 2000}
        answers.http("search", lambda: client.get("/actors:search", params=query))
    return answers.outcome()


def page_token_bomb(target: Target) -> Outcome:
    """A page token that inflates to hundreds of megabytes."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(_MIB)) for _ in range(_BOMB_BYTES // _MIB))
    packed += packer.flush()
    payload = "." + base64.urlsafe_b64encode(packed).decode().rstrip("=")
    # Page tokens have a checksum that anybody can compute, of a request without other fields.
    checksum = URLSafeSerializer("sori.page", salt=hashlib.sha256().digest()).make_signer()
    token = checksum.sign(payload).decode()
    answers = Answers()
    with target.channel() as channel:
        catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        for _ in range(3):
            request = pb.ListTokensRequest(page_token=token)
            answers.rpc(
                "ListTokens",
                partial(catalog.ListTokens, request, timeout=TIMEOUT_SECONDS),
                {"INVALID_ARGUMENT"},
            )
    with target.http() as client:
        answers.http("GET /tokens", lambda: client.get("/tokens", params={"page_token": "a" * 600}))
    return answers.outcome()


def endless_violations(target: Target) -> Outcome:
    """Bodies and masks of which every element is a violation; answers must stay short."""
    answers = Answers()
    largest = 0

    def send(method: str, path: str, content: str, mask: str = "") -> httpx.Response:
        nonlocal largest
        params = {"update_mask": mask} if mask else {}
        headers = {"content-type": "application/json"}
        answer = client.request(method, path, content=content, params=params, headers=headers)
        largest = max(largest, len(answer.content))
        return answer

    words = ",".join(["{}"] * 300_000)
    aliases = ",".join(['""'] * 300_000)
    mask = ",".join(f"f{number}" for number in range(8000))
    with target.http() as client:
        answers.http("words", lambda: send("POST", "/scripts", f'{{"words":[{words}]}}'))
        answers.http("aliases", lambda: send("POST", "/actors", f'{{"aliases":[{aliases}]}}'))
        answers.http("mask", lambda: send("PATCH", "/actors/1", "{}", mask))
    outcome = answers.outcome()
    is_short = largest <= _LARGEST_ANSWER_BYTES
    return Outcome(f"{outcome.seen}; largest answer {largest} bytes", outcome.is_right and is_short)


def import_lines(target: Target) -> Outcome:
    """An import of which every line is refused with as long a reason as possible."""
    answers = Answers()
    aliases = ",".join(['""'] * 100_000)
    line = f'{{"actor":{{"name":"{"x" * 100_000}","aliases":[{aliases}]}}}}\n'
    received = 0

    def call() -> None:
        nonlocal received
        with target.channel() as channel:
            catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
            for answer in catalog.ImportCatalog(
                _chunks(line.encode() * 8), timeout=TIMEOUT_SECONDS
            ):
                received += answer.ByteSize()

    answers.rpc("ImportCatalog", call)
    outcome = answers.outcome()
    is_short = received < 8 * _LARGEST_ANSWER_BYTES
    return Outcome(f"{outcome.seen}; {received} bytes of reasons", outcome.is_right and is_short)


def _chunks(content: bytes) -> Iterator[pb.ImportCatalogRequest]:
    for start in range(0, len(content), _MIB):
        yield pb.ImportCatalogRequest(chunk=content[start : start + _MIB])

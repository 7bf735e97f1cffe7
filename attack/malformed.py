"""Requests that are not what they say: bytes outside UTF-8, overridden ids, smuggled requests."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from uuid import uuid4

import httpx

from attack.answers import Answers
from attack.model import Outcome
from attack.rpcs import unary_rpcs
from attack.target import TIMEOUT_SECONDS, Target, take

_GETS = (
    "/actors:search?query=%BC%F6%C1%F6",
    "/tokens:search?query=%FF",
    "/tokens?category=%FF",
    "/tokens?page_token=%FF",
    "/scripts?page_token=%FF",
    "/analyses?status=%FF",
    "/analyses/%FF",
    "/tokens/analysis-result/%FF",
    "/tokens/analysis-progress/%FF",
)
_WRITES = (
    ("POST", "/analyses/%FF:cancel"),
    ("DELETE", "/actors/999999?etag=%FF"),
    ("PATCH", "/actors/999999?update_mask=%FF"),
    ("POST", "/tokens/webhook/analysis-complete?job_id=x&signature=%FF"),
)
_JSON = {"content-type": "application/json"}
_READ_SECONDS = 0.5
_SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: sori\r\n\r\n"
_HEAD = b"POST /actors HTTP/1.1\r\nHost: sori\r\nContent-Type: application/json\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
# The framing headers of requests that two servers could read in two ways, and the body.
_SHAPES = {
    "CL.TE": (b"Content-Length: 4\r\n" + _CHUNKED, b"0\r\n\r\n" + _SMUGGLED),
    "TE.CL": (_CHUNKED + b"Content-Length: 4\r\n", b"0\r\n\r\n" + _SMUGGLED),
    "two lengths": (b"Content-Length: 0\r\nContent-Length: 39\r\n", _SMUGGLED),
    "list of lengths": (b"Content-Length: 0, 39\r\n", _SMUGGLED),
    "length with a sign": (b"Content-Length: +0\r\n", _SMUGGLED),
    "length in hexadecimal": (b"Content-Length: 0x0\r\n", _SMUGGLED),
    "negative length": (b"Content-Length: -1\r\n", _SMUGGLED),
    "space before the colon": (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + _SMUGGLED),
    "folded header": (b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
    "unknown encoding": (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + _SMUGGLED),
    "encoding twice": (_CHUNKED + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n" + _SMUGGLED),
    "bare line feeds": (b"Content-Length: 0\n\n", _SMUGGLED),
    "null in a header": (b"X: a\0b\r\nContent-Length: 0\r\n", _SMUGGLED),
    "chunk size with junk": (_CHUNKED, b"0x\r\n\r\n" + _SMUGGLED),
    "huge chunk size": (_CHUNKED, b"fffffffffffffffff\r\n" + _SMUGGLED),
}


def invalid_utf8_by_http(target: Target) -> Outcome:
    """Bytes outside UTF-8 in paths, queries, headers, metadata and form boundaries."""
    answers = Answers()
    tus = {"tus-resumable": "1.0.0"}
    with target.http() as client:
        for path in _GETS:
            answers.http(path, partial(client.get, path))
        for method, path in _WRITES:
            content = b"" if method == "DELETE" else b"{}"
            answers.http(
                path, partial(client.request, method, path, content=content, headers=_JSON)
            )
        answers.http("tus", partial(client.delete, "/uploads/%FF", headers=tus))
        metadata = {**tus, "upload-length": "9", "upload-metadata": "filename /w=="}
        answers.http("tus metadata", partial(client.post, "/uploads", headers=metadata))
        boundary = [(b"content-type", b"multipart/form-data; boundary=\xff")]
        form = "/tokens/1/upload-audio"
        answers.http("boundary", partial(client.post, form, headers=boundary, content=b"--x--"))
        kind = "/tokens/1/reference-assets/%FF"
        answers.http("kind", partial(client.post, kind, files={"file": b"x"}))
        name = b'{"name": "\xff"}'
        answers.http("JSON", partial(client.post, "/actors", content=name, headers=_JSON))
    return answers.outcome()


def invalid_utf8_by_grpc(target: Target) -> Outcome:
    """Bytes that no protobuf message has, and a text field that is not UTF-8, to every rpc."""
    answers = Answers()
    with target.channel() as channel:
        for rpc in unary_rpcs():
            requests = [b"\xff\xff\xff\xff"]
            for _, request in rpc.requests_with("\x7f\x7f"):
                requests.append(request.replace(b"\x7f\x7f", b"\xff\xfe"))
            for request in requests:
                answers.rpc(
                    rpc.name,
                    partial(rpc.call, channel, request, TIMEOUT_SECONDS),
                    {"INVALID_ARGUMENT", "UNIMPLEMENTED"},
                )
    return answers.outcome()


def overridden_ids(target: Target) -> Outcome:
    """A query or a body that names another resource than the path: refused, nothing changes."""
    answers = Answers()
    target.analysis_server.answer = (202, b'{"status": "accepted"}')
    with target.http() as client:
        first, second = (_actor(client) for _ in range(2))
        jobs = [target.upload(take(3)).json()["job_id"] for _ in range(2)]
        refused = {400}
        for label, send in {
            "DELETE": lambda: client.delete(f"/actors/{first}", params={"id": second}),
            "PATCH": lambda: client.patch(f"/actors/{first}", json={"id": second, "name": "x"}),
            "cancel": lambda: client.post(f"/analyses/{jobs[0]}:cancel", json={"job_id": jobs[1]}),
            "GET": lambda: client.get(f"/actors/{first}", params={"id": second}),
            "result": lambda: client.get(
                f"/tokens/analysis-result/{jobs[0]}", params={"job_id": jobs[1]}
            ),
        }.items():
            answers.http(label, send, refused)
        for path in (f"/actors/{first}", f"/actors/{second}"):
            answers.http("kept", partial(client.get, path), {200})
        states = {client.get(f"/analyses/{job}").json().get("state") for job in jobs}
    outcome = answers.outcome()
    is_cancelled = any("CANCELLED" in str(state) for state in states)
    return Outcome(
        outcome.seen + "; cancelled" * is_cancelled, outcome.is_right and not is_cancelled
    )


def smuggled_requests(target: Target) -> Outcome:
    """Framing that two servers could read in two ways: no hidden request is answered."""
    wrong = []
    for name, (framing, body) in _SHAPES.items():
        answer = _raw(target, _HEAD + framing + b"\r\n" + body)
        statuses = [line.split(b" ")[1][:3] for line in answer.split(b"\r\n") if _is_status(line)]
        # Bytes after a complete request may be one of their own, but not one that is served.
        if not all(_is_refusal(status) for status in statuses) or len(statuses) > 2:
            wrong.append(f"{name}: {' '.join(status.decode() for status in statuses)}")
    seen = f"{len(_SHAPES) - len(wrong)} of {len(_SHAPES)} refused"
    return Outcome("; ".join([seen, *wrong]), not wrong)


def _is_refusal(status: bytes) -> bool:
    # 501: an unknown transfer encoding.
    return status.startswith(b"4") or status == b"501"


def _is_status(line: bytes) -> bool:
    return line.startswith(b"HTTP/1.") and len(line.split(b" ")) > 1


def _raw(target: Target, request: bytes) -> bytes:
    """All that the gateway answers to these bytes in time."""
    answer = b""
    with target.connect() as connection, suppress(OSError):
        connection.settimeout(_READ_SECONDS)
        connection.sendall(request)
        while part := connection.recv(65536):
            answer += part
    return answer


def _actor(client: httpx.Client) -> str:
    return str(client.post("/actors", json={"name": f"attacked {uuid4()}"}).json()["id"])

"""Uploads that take storage from nothing, or somebody else's job."""

from __future__ import annotations

import base64
import os
from itertools import takewhile
from uuid import uuid4

import httpx

from attack.model import Outcome
from attack.target import TOKEN_ID, Target, take

_TUS = {"tus-resumable": "1.0.0"}
_CONTENT = {**_TUS, "content-type": "application/offset+octet-stream", "upload-offset": "0"}
_PIECE_BYTES = 1024**2
_REPEATS = 250
_OPEN_UPLOADS = 300
_STRANGER = "127.0.0.5"
_METADATA = f"token_id {base64.b64encode(str(TOKEN_ID).encode()).decode()}"


def one_piece_many_times(target: Target) -> Outcome:
    """A tus upload concatenated from one piece of 1 MiB, named 250 times."""
    with target.http() as client:
        piece = _create(client, _PIECE_BYTES, {"upload-concat": "partial"})
        start = take(2)
        content = start + os.urandom(_PIECE_BYTES - len(start))
        client.patch(piece, headers=_CONTENT, content=content)
        answer = _final(client, [piece] * _REPEATS)
        stored = 0
        if answer.status_code == 201:
            head = client.head(answer.headers["location"], headers=_TUS)
            stored = int(head.headers.get("upload-length", 0))
    seen = f"{answer.status_code}, {stored} bytes"
    return Outcome(seen, answer.status_code in (400, 403, 409, 413, 429) or stored <= _PIECE_BYTES)


def repeated_final(target: Target) -> Outcome:
    """The same concatenation twice, as after a lost answer: one upload. DELETE of it is 204."""
    content = take(4)
    half = len(content) // 2
    with target.http() as client:
        pieces = []
        for part in (content[:half], content[half:]):
            piece = _create(client, len(part), {"upload-concat": "partial"})
            client.patch(piece, headers=_CONTENT, content=part)
            pieces.append(piece)
        answers = [_final(client, pieces) for _ in range(2)]
        places = {answer.headers.get("location") for answer in answers}
        deleted = client.delete(str(places.pop()), headers=_TUS).status_code if places else 0
    seen = f"{[answer.status_code for answer in answers]}, then DELETE {deleted}"
    return Outcome(seen, not places and deleted == 204)


def open_uploads_without_end(target: Target) -> Outcome:
    """Many uploads of one address that never send a byte: limited, with Retry-After."""
    headers = {**_TUS, "upload-length": str(1024**2), "upload-metadata": _METADATA}
    with target.http() as client:
        answer = client.post("/uploads", headers=headers)
        created = 0
        while answer.status_code == 201 and created < _OPEN_UPLOADS:
            created += 1
            answer = client.post("/uploads", headers=headers)
        status, pause = answer.status_code, answer.headers.get("retry-after", "")
    seen = f"{created} created, then {status}, Retry-After {pause or 'missing'}"
    return Outcome(seen, status == 429 and bool(pause))


def a_strangers_idempotency_key(target: Target) -> Outcome:
    """A stranger who guesses a client's key gets neither its job nor an effect on it."""
    key = {"idempotency-key": "take-1"}
    content = take(5)
    mine = _upload(target, content, key, target.source)
    same, other = (_upload(target, each, key, _STRANGER) for each in (content, take(5)))
    again = _upload(target, content, key, target.source)
    stolen = {_job_of(same), _job_of(other)} & {_job_of(mine)}
    is_kept = _job_of(again) == _job_of(mine)
    seen = f"stranger {same.status_code} and {other.status_code}; " + (
        "the client's job was given away" if stolen else "the client's job stays its own"
    )
    return Outcome(
        seen if is_kept else f"{seen}; its repeat made another job", not stolen and is_kept
    )


def guessed_upload_ids(target: Target) -> Outcome:
    """The public id of a job says nothing about the id of its upload, which is a capability."""
    headers = {**_TUS, "upload-length": "1000", "upload-metadata": _METADATA}
    with target.http() as client:
        answer = client.post("/uploads", headers=headers)
    upload = answer.headers["location"].rpartition("/")[2].replace("-", "")
    job = answer.headers.get("x-job-id", uuid4().hex).replace("-", "")
    pairs = zip(upload, job, strict=False)
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    # Two random ids share 4 hexadecimal digits in one case of 65,536.
    return Outcome(f"{shared} leading digits in common", shared < 4)


def _create(client: httpx.Client, length: int, headers: dict[str, str]) -> str:
    sent = {**_TUS, "upload-length": str(length), **headers}
    return str(client.post("/uploads", headers=sent).headers["location"])


def _final(client: httpx.Client, pieces: list[str]) -> httpx.Response:
    headers = {
        **_TUS,
        "upload-concat": f"final;{' '.join(pieces)}",
        "upload-metadata": _METADATA,
    }
    return client.post("/uploads", headers=headers)


def _upload(target: Target, content: bytes, headers: dict[str, str], source: str) -> httpx.Response:
    with target.http(source) as client:
        path = f"/tokens/{TOKEN_ID}/upload-audio"
        return client.post(path, files={"file": ("take.webm", content)}, headers=headers)


def _job_of(answer: httpx.Response) -> str:
    return str(answer.json().get("job_id") or uuid4())

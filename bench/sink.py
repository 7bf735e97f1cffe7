"""An S3 server that discards recordings, so that a measurement has no disk in it.

`python -m bench.sink PORT`. It keeps the sizes of recordings (keys under `recordings/`) and
the bytes of small other objects. `GET /__requests` returns the number of requests by kind as
JSON since the start. It does not check signatures; every competitor signs all the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import parse_qsl, unquote

from bench.http1 import BufferedServer, Head
from bench.loop import run

DISCARDED = "recordings/"
KEPT_BYTES = 1024**2
REQUESTS_PATH = "/__requests"
_XML = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass
class StoredObject:
    """An object: its size, its headers, and its bytes unless they were discarded."""

    size: int
    headers: dict[str, str]
    body: bytes | None


@dataclass
class MultipartUpload:
    """A multipart upload: the size and the ETag of each part by its number."""

    parts: dict[int, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """An HTTP response without its status line's version.

    size: Content-Length if it differs from the body's, as in responses to HEAD.
    """

    status: str = "200 OK"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int | None = None


@dataclass(frozen=True)
class Request:
    """A request: its bucket and key, its query, its head and what was kept of its body."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    size: int
    body: bytes | None


class Objects:
    """All objects, and the answer to each kind of request."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self._objects: dict[str, StoredObject] = {}
        self._uploads: dict[str, MultipartUpload] = {}
        self._numbers = count(1)

    def answer(self, request: Request) -> Answer:
        """Carry out a request."""
        kind = kind_of(request)
        self.requests[kind] += 1
        handlers = {
            "PutObject": self._put,
            "UploadPart": self._put_part,
            "CreateMultipartUpload": self._create_upload,
            "CompleteMultipartUpload": self._complete_upload,
            "ListParts": self._list_parts,
            "GetObject": self._get,
            "HeadObject": self._get,
        }
        if handler := handlers.get(kind):
            return handler(request)
        if kind == "DeleteObject":
            self._objects.pop(request.key, None)
        if request.method == "DELETE":
            return Answer("204 No Content")
        return Answer(body=_EMPTY_RESULTS.get(kind, "").encode())

    def _put(self, request: Request) -> Answer:
        kept = _without_aws_chunks(request) if request.body is not None else None
        echoed = _echoed(request.headers) | {"ETag": self._etag()}
        self._objects[request.key] = StoredObject(request.size, echoed, kept)
        return Answer(headers=echoed)

    def _put_part(self, request: Request) -> Answer:
        upload = self._uploads.get(request.query["uploadId"])
        if upload is None:
            return _error("NoSuchUpload")
        etag = self._etag()
        upload.parts[int(request.query["partNumber"])] = (request.size, etag)
        return Answer(headers=_echoed(request.headers) | {"ETag": etag})

    def _create_upload(self, request: Request) -> Answer:
        upload_id = f"upload{next(self._numbers)}"
        self._uploads[upload_id] = MultipartUpload()
        return _result(
            "InitiateMultipartUpload",
            f"<Bucket>{request.bucket}</Bucket><Key>{request.key}</Key>"
            f"<UploadId>{upload_id}</UploadId>",
        )

    def _complete_upload(self, request: Request) -> Answer:
        upload = self._uploads.pop(request.query["uploadId"], None)
        if upload is None:
            return _error("NoSuchUpload")
        size, etag = sum(size for size, _ in upload.parts.values()), self._etag()
        self._objects[request.key] = StoredObject(size, {"ETag": etag}, None)
        return _result(
            "CompleteMultipartUpload",
            f"<Bucket>{request.bucket}</Bucket><Key>{request.key}</Key><ETag>{etag}</ETag>",
        )

    def _list_parts(self, request: Request) -> Answer:
        upload = self._uploads.get(request.query["uploadId"])
        if upload is None:
            return _error("NoSuchUpload")
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><Size>{size}</Size></Part>"
            for number, (size, etag) in sorted(upload.parts.items())
        )
        return _result("ListParts", f"<IsTruncated>false</IsTruncated>{parts}")

    def _get(self, request: Request) -> Answer:
        stored = self._objects.get(request.key)
        if stored is None:
            return _error("NoSuchKey")
        if request.method == "HEAD":
            return Answer(headers=stored.headers, size=stored.size)
        body = bytes(stored.size) if stored.body is None else stored.body
        return Answer(headers=stored.headers, body=body)

    def _etag(self) -> str:
        return f'"{next(self._numbers):032x}"'


class SinkConnection(BufferedServer):
    """One connection of a client."""

    def __init__(self, objects: Objects) -> None:
        super().__init__()
        self._objects = objects

    def keeps_body(self, head: Head) -> bool:
        """Whether the body of a request is kept while it arrives."""
        size = head.headers.get("x-amz-decoded-content-length", head.headers.get("content-length"))
        _, key = _bucket_and_key(head.target)
        is_small = head.method == "POST" or int(size or 0) <= KEPT_BYTES
        return is_small and not key.startswith(DISCARDED)

    def handle(self, head: Head, size: int, body: bytes | None) -> None:
        """Answer a request whose last byte has arrived."""
        if head.target == REQUESTS_PATH:
            self._write(head, Answer(body=json.dumps(self._objects.requests).encode()))
            return
        bucket, key = _bucket_and_key(head.target)
        query = dict(parse_qsl(head.target.partition("?")[2], keep_blank_values=True))
        size = int(head.headers.get("x-amz-decoded-content-length", size))
        request = Request(head.method, bucket, key, query, head.headers, size, body)
        self._write(head, self._objects.answer(request))

    def _write(self, head: Head, answer: Answer) -> None:
        size = len(answer.body) if answer.size is None else answer.size
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        start = (
            f"HTTP/1.1 {answer.status}\r\n{lines}Content-Type: application/xml\r\n"
            f"Content-Length: {size}\r\n\r\n"
        )
        self.write(start.encode() + (b"" if head.method == "HEAD" else answer.body))


def kind_of(request: Request) -> str:
    """The name of the S3 operation."""
    if not request.key:
        return f"{request.method} bucket"
    if "uploadId" in request.query:
        return {
            "PUT": "UploadPart",
            "POST": "CompleteMultipartUpload",
            "DELETE": "AbortMultipartUpload",
        }.get(request.method, "ListParts")
    if request.method == "POST":
        return "CreateMultipartUpload"
    return f"{request.method.capitalize()}Object"


_EMPTY_RESULTS = {
    "GET bucket": f"{_XML}<ListBucketResult><IsTruncated>false</IsTruncated>"
    "<KeyCount>0</KeyCount></ListBucketResult>",
    "POST bucket": f"{_XML}<DeleteResult></DeleteResult>",
}


def _bucket_and_key(target: str) -> tuple[str, str]:
    bucket, _, key = unquote(target.partition("?")[0]).removeprefix("/").partition("/")
    return bucket, key


def _echoed(headers: Mapping[str, str]) -> dict[str, str]:
    """The checksums and user metadata of a request, which S3 returns."""
    return {
        name: value
        for name, value in headers.items()
        if name.startswith("x-amz-meta-")
        or (name.startswith("x-amz-checksum-") and name != "x-amz-checksum-algorithm")
    }


def _without_aws_chunks(request: Request) -> bytes:
    body = request.body or b""
    if "aws-chunked" not in request.headers.get("content-encoding", ""):
        return body
    decoded = b""
    while body:
        line, _, body = body.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            break
        decoded, body = decoded + body[:size], body[size + 2 :]
    return decoded


def _result(operation: str, content: str) -> Answer:
    return Answer(body=f"{_XML}<{operation}Result>{content}</{operation}Result>".encode())


def _error(code: str) -> Answer:
    body = f"{_XML}<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return Answer("404 Not Found", body=body.encode())


async def serve(port: int) -> None:
    """Serve until cancelled."""
    objects = Objects()
    server = await asyncio.get_running_loop().create_server(
        lambda: SinkConnection(objects), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    run(serve(int(sys.argv[1])))

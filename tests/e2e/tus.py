"""A tus client for tests, and the files that they upload with it."""

from __future__ import annotations

import base64

import httpx

from sori.upload.v1 import upload_pb2 as pb
from tests.e2e.product import AUDIO, Json
from tests.e2e.uploading import MIB, Uploader, wav

CONTENT = (AUDIO / "ref_0890.wav").read_bytes()
LONG = wav(12 * MIB + 345)
BYTES = {"Content-Type": "application/offset+octet-stream"}


def metadata(**values: object) -> str:
    return ",".join(
        f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in values.items()
    )


class Tus:
    """A client that sends exactly the given headers and bytes."""

    def __init__(self, gateway: httpx.Client, token_id: int) -> None:
        self.gateway = gateway
        self.token_id = token_id

    def request(
        self, method: str, path: str, headers: Json | None = None, content: object = None
    ) -> httpx.Response:
        wanted = {"Tus-Resumable": "1.0.0", **(headers or {})}
        answer = self.gateway.request(method, path, headers=wanted, content=content)  # type: ignore[arg-type]
        assert answer.headers["tus-resumable"] == "1.0.0"
        return answer

    def create(
        self, size: int | None, content: bytes = b"", headers: Json | None = None
    ) -> httpx.Response:
        length = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
        described = {"Upload-Metadata": metadata(token_id=self.token_id, filename="한글.wav")}
        content_type = BYTES if content else {}
        wanted = {**length, **described, **content_type, **(headers or {})}
        return self.request("POST", "/uploads", wanted, content)

    def create_upload(self, size: int | None) -> str:
        answer = self.create(size)
        assert answer.status_code == 201, answer.text
        location: str = answer.headers["location"]
        return location

    def patch(self, location: str, offset: int, content: object, **headers: str) -> httpx.Response:
        wanted = {"Upload-Offset": str(offset), **BYTES, **headers}
        return self.request("PATCH", location, wanted, content)

    def head(self, location: str) -> httpx.Response:
        return self.request("HEAD", location)

    def offset(self, location: str) -> int:
        return int(self.head(location).headers["upload-offset"])

    def sends_rest(self, location: str, content: bytes) -> bool:
        """Resume at the current offset, as clients do; False if the offset has moved meanwhile."""
        offset = self.offset(location)
        answer = self.patch(location, offset, content[offset:])
        assert answer.status_code in (204, 409)
        return answer.status_code == 204


def upload_of(uploader: Uploader, location: str) -> pb.Upload:
    return uploader.get(location.rpartition("/")[2])

"""A gRPC client of resumable uploads."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from random import Random
from uuid import UUID

import grpc

from services.upload.models import recording_key
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.e2e.product import Product
from tests.e2e.waiting import eventually

MIB = 1024**2


def wav(size: int, seed: int = 1, byte_rate: int = 48_000 * 2) -> bytes:
    """A WAV file of `size` bytes: noise, 16 bits, one channel."""
    data = size - 44
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", data + 36, b"WAVE", b"fmt ", 16, 1, 1, byte_rate // 2, byte_rate, 2, 16),
        *(b"data", data),
    )
    return head + Random(seed).randbytes(data)


class Uploader:
    """Uploads by gRPC over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = upload_pb2_grpc.UploadServiceStub(channel)

    def create(self, token_id: int, **fields: object) -> pb.Upload:
        request = pb.CreateUploadRequest(token_id=token_id, **fields)  # type: ignore[arg-type]
        return self.stub.CreateUpload(request, timeout=30)

    def get(self, upload_id: str) -> pb.Upload:
        return self.stub.GetUpload(pb.GetUploadRequest(upload_id=upload_id), timeout=30)

    def cancel(self, upload_id: str) -> pb.Upload:
        return self.stub.CancelUpload(pb.CancelUploadRequest(upload_id=upload_id), timeout=30)

    def write(
        self, upload_id: str, offset: int, content: bytes, *, finish: bool = False
    ) -> pb.Upload:
        """Send bytes in one stream, which states the end of the upload if `finish` is set."""
        return self.stub.WriteUpload(iter(messages(upload_id, offset, content, finish)), timeout=60)


def messages(
    upload_id: str, offset: int, content: bytes, finish: bool, step: int = MIB
) -> Sequence[pb.WriteUploadRequest]:
    """The messages of one write."""
    chunks = [content[start : start + step] for start in range(0, len(content), step)]
    sent = [pb.WriteUploadRequest(chunk=chunk) for chunk in chunks] or [pb.WriteUploadRequest()]
    sent[0].upload_id, sent[0].write_offset = upload_id, offset
    sent[-1].finish_write = finish
    return sent


def assert_analysed(product: Product, upload: pb.Upload, content: bytes) -> None:
    """The upload is complete, S3 has exactly the sent bytes, and the analysis has the recording."""
    assert upload.state == pb.UPLOAD_STATE_COMPLETED
    assert upload.committed_size == len(content)
    recording = product.analysis(upload.job_id)["recording"]
    assert int(recording["size"]) == len(content)
    key = recording_key(upload.token_id, UUID(upload.job_id))
    assert hashlib.sha256(product.object_content(key)).digest() == hashlib.sha256(content).digest()
    # A superseded writer deletes its tail objects a little later.
    eventually(lambda: product.object_keys(f"tails/{upload.upload_id}/") == [])
    eventually(lambda: product.recording_keys(upload.token_id) == [key])

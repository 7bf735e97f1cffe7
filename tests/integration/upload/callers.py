"""Callers of a process over gRPC, with the metadata that the gateway sets for them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.runtime.access import AccessCheck
from services.runtime.callers import guest_owner_id
from services.runtime.client_address import CLIENT_ADDRESS
from services.runtime.interceptors import CallInterceptor
from services.upload.owner_servicer import UploadOwnerServicer
from services.upload.servicer import UploadServicer
from services.upload.tus_servicer import TusServicer
from sori.upload.v1 import tus_pb2, tus_pb2_grpc, upload_pb2, upload_pb2_grpc
from tests.integration.upload.process import MIB, Process

BOUNDARY = "a-boundary"
TUS = {"tus-resumable": "1.0.0"}
OFFSET_TYPE = "application/offset+octet-stream"
NOBODY: Mapping[str, str] = {"x-sori-caller": "nobody"}
OPERATOR: Mapping[str, str] = {
    "x-sori-caller": "account",
    "x-sori-account": "an operator",
    "x-sori-roles": "operator",
}


def account(account_id: str = "") -> dict[str, str]:
    """The metadata of a caller with an account; default: a new one."""
    return {"x-sori-caller": "account", "x-sori-account": account_id or str(uuid4())}


def guest(token: str) -> dict[str, str]:
    """The metadata of the guest that has this secret."""
    return {"x-sori-caller": "guest", "x-sori-guest-token": token}


@dataclass(frozen=True)
class Refusal:
    """The status and the reason of a call that failed, and the metadata of the reason."""

    code: str
    reason: str
    metadata: Mapping[str, str]


@dataclass
class Answer:
    """What a caller gets. headers: the initial metadata; a name may be there several times."""

    message: Any
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)

    def header(self, name: str) -> str | None:
        """A header; None if there is none."""
        return dict(self.headers).get(name)

    @property
    def guest_token(self) -> str:
        """The secret of the new guest. Errors: KeyError if the answer has none."""
        return dict(self.headers)["x-guest-token"]

    @property
    def guest_id(self) -> str:
        """The owner id of the new guest."""
        return guest_owner_id(self.guest_token)


class Callers:
    """The upload service of a process, as callers use it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._uploads = upload_pb2_grpc.UploadServiceStub(channel)
        self._tus = tus_pb2_grpc.TusServiceStub(channel)
        self.owners = upload_pb2_grpc.UploadOwnerServiceStub(channel)

    async def stream_take(
        self, caller: Mapping[str, str], token_id: int, content: bytes, request_id: str = ""
    ) -> Answer:
        """Upload a take as a stream."""
        metadata = upload_pb2.UploadAudioMetadata(token_id=token_id, request_id=request_id)
        messages = [upload_pb2.UploadAudioRequest(metadata=metadata)]
        messages += [
            upload_pb2.UploadAudioRequest(chunk=content[start : start + MIB])
            for start in range(0, len(content), MIB)
        ]
        messages.append(upload_pb2.UploadAudioRequest(finish=upload_pb2.UploadAudioFinish()))
        return await answered(self._uploads.UploadAudio(iter(messages), metadata=pairs(caller)))

    async def send_form(self, caller: Mapping[str, str], token_id: int, content: bytes) -> Answer:
        """Upload a take as a form."""
        request = upload_pb2.UploadAudioFormRequest(token_id=token_id)
        request.form.content_type = f"multipart/form-data; boundary={BOUNDARY}"
        request.form.data = form(content)
        call = self._uploads.UploadAudioForm(iter([request]), metadata=pairs(caller))
        return await answered(call)

    async def upload_asset(
        self, caller: Mapping[str, str], token_id: int, chunks: AsyncIterator[bytes]
    ) -> Answer:
        """Upload the voice of a token."""

        async def messages() -> AsyncIterator[upload_pb2.UploadReferenceAssetRequest]:
            metadata = upload_pb2.UploadReferenceAssetMetadata(
                token_id=token_id, kind=upload_pb2.ASSET_KIND_VOICE
            )
            yield upload_pb2.UploadReferenceAssetRequest(metadata=metadata)
            async for chunk in chunks:
                yield upload_pb2.UploadReferenceAssetRequest(chunk=chunk)
            yield upload_pb2.UploadReferenceAssetRequest(finish=upload_pb2.UploadAudioFinish())

        call = self._uploads.UploadReferenceAsset(messages(), metadata=pairs(caller))
        return await answered(call)

    async def upload_picture(self, caller: Mapping[str, str], content: bytes) -> Answer:
        """Upload the picture of the caller's account as a stream."""
        messages = [
            upload_pb2.UploadPictureRequest(metadata=upload_pb2.UploadPictureMetadata()),
            *(upload_pb2.UploadPictureRequest(chunk=chunk) for chunk in chunks_of(content)),
            upload_pb2.UploadPictureRequest(finish=upload_pb2.UploadAudioFinish()),
        ]
        return await answered(self._uploads.UploadPicture(iter(messages), metadata=pairs(caller)))

    async def send_picture_form(self, caller: Mapping[str, str], content: bytes) -> Answer:
        """Upload the picture of the caller's account as a form."""
        requests = []
        for chunk in chunks_of(form(content)):
            request = upload_pb2.UploadPictureFormRequest()
            request.form.content_type = f"multipart/form-data; boundary={BOUNDARY}"
            request.form.data = chunk
            requests.append(request)
        call = self._uploads.UploadPictureForm(iter(requests), metadata=pairs(caller))
        return await answered(call)

    async def create_picture(
        self, caller: Mapping[str, str], size: int, content: bytes = b""
    ) -> Answer:
        """Create an upload of the picture of the caller's account by tus."""
        purpose = f"purpose {base64.b64encode(b'picture').decode()}"
        metadata = {**TUS, "upload-length": str(size), "upload-metadata": purpose}
        requests = []
        for chunk in chunks_of(content) or [b""]:
            request = tus_pb2.CreateTusUploadRequest()
            if chunk:
                request.content.content_type = OFFSET_TYPE
                request.content.data = chunk
            requests.append(request)
        call = self._tus.CreateTusUpload(iter(requests), metadata=pairs(caller, metadata))
        return await answered(call)

    async def create(self, caller: Mapping[str, str], token_id: int, **fields: Any) -> Answer:
        """Create a resumable upload."""
        request = upload_pb2.CreateUploadRequest(token_id=token_id, **fields)
        return await answered(self._uploads.CreateUpload(request, metadata=pairs(caller)))

    async def get(self, caller: Mapping[str, str], upload_id: object) -> Answer:
        """Get an upload."""
        request = upload_pb2.GetUploadRequest(upload_id=str(upload_id))
        return await answered(self._uploads.GetUpload(request, metadata=pairs(caller)))

    async def write(
        self, caller: Mapping[str, str], upload_id: object, content: bytes, *, finish: bool = False
    ) -> Answer:
        """Write the first bytes of an upload."""
        request = upload_pb2.WriteUploadRequest(
            upload_id=str(upload_id), chunk=content, finish_write=finish
        )
        return await answered(self._uploads.WriteUpload(iter([request]), metadata=pairs(caller)))

    async def cancel(self, caller: Mapping[str, str], upload_id: object) -> Answer:
        """Cancel an upload."""
        request = upload_pb2.CancelUploadRequest(upload_id=str(upload_id))
        return await answered(self._uploads.CancelUpload(request, metadata=pairs(caller)))

    async def create_partial(
        self, caller: Mapping[str, str], size: int = MIB, content: bytes = b"", **headers: str
    ) -> Answer:
        """Create a partial upload by tus."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        metadata = {**TUS, "upload-concat": "partial", "upload-length": str(size), **named}
        request = tus_pb2.CreateTusUploadRequest()
        if content:
            request.content.content_type = OFFSET_TYPE
            request.content.data = content
        call = self._tus.CreateTusUpload(iter([request]), metadata=pairs(caller, metadata))
        return await answered(call)

    async def concatenate(
        self, caller: Mapping[str, str], token: str, upload_ids: Sequence[object]
    ) -> Answer:
        """Concatenate partial uploads by tus. token: the upload metadata that name it."""
        paths = " ".join(f"/uploads/{each}" for each in upload_ids)
        metadata = {**TUS, "upload-concat": f"final;{paths}", "upload-metadata": token}
        call = self._tus.CreateTusUpload(iter(()), metadata=pairs(caller, metadata))
        return await answered(call)

    async def head(self, caller: Mapping[str, str], upload_id: object) -> Answer:
        """HEAD of tus."""
        request = tus_pb2.GetTusUploadRequest(upload_id=str(upload_id))
        return await answered(self._tus.GetTusUpload(request, metadata=pairs(caller, TUS)))

    async def patch(self, caller: Mapping[str, str], upload_id: object, content: bytes) -> Answer:
        """PATCH of tus, at offset 0."""
        request = tus_pb2.WriteTusUploadRequest(upload_id=str(upload_id))
        request.content.content_type = OFFSET_TYPE
        request.content.data = content
        metadata = pairs(caller, {**TUS, "upload-offset": "0"})
        return await answered(self._tus.WriteTusUpload(iter([request]), metadata=metadata))

    async def delete(self, caller: Mapping[str, str], upload_id: object) -> Answer:
        """DELETE of tus."""
        request = tus_pb2.DeleteTusUploadRequest(upload_id=str(upload_id))
        return await answered(self._tus.DeleteTusUpload(request, metadata=pairs(caller, TUS)))


@asynccontextmanager
async def callers_of(process: Process) -> AsyncIterator[Callers]:
    """The rpcs of the upload service on this process, without TLS."""
    interceptors = [CallInterceptor(), AccessCheck(guests=process.guests)]
    server = grpc.aio.server(interceptors=interceptors)
    upload_pb2_grpc.add_UploadServiceServicer_to_server(
        UploadServicer(process.uploads, process.one_shot, guests=process.guest_lifetime), server
    )
    tus_pb2_grpc.add_TusServiceServicer_to_server(
        TusServicer(process.uploads, guests=process.guest_lifetime), server
    )
    upload_pb2_grpc.add_UploadOwnerServiceServicer_to_server(
        UploadOwnerServicer(process.owned), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Callers(channel)
    finally:
        await server.stop(None)


async def refusal_of(call: Awaitable[object]) -> Refusal:
    """The refusal of a call that fails."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        status, info = rpc_status.from_call(cast("grpc.Call", error)), error_details_pb2.ErrorInfo()
        assert status is not None
        status.details[0].Unpack(info)
        return Refusal(error.code().name, info.reason, dict(info.metadata))
    raise AssertionError("the call succeeded")


async def answered(call: Any) -> Answer:
    message = await call
    headers = [(str(name), str(value)) for name, value in await call.initial_metadata()]
    return Answer(message, headers)


def upload_id_of(answer: Answer) -> UUID:
    """The upload that a POST of tus created."""
    return UUID(str(answer.header("location")).rpartition("/")[2])


def pairs(*metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The metadata of a call; an address is added, as the gateway does."""
    merged: dict[str, str] = {}
    for each in metadata:
        merged |= each
    return tuple({CLIENT_ADDRESS: "192.0.2.99", **merged}.items())


def chunks_of(content: bytes) -> list[bytes]:
    """Pieces of at most 1 MiB, as the gateway makes them."""
    return [content[start : start + MIB] for start in range(0, len(content), MIB)]


def form(content: bytes) -> bytes:
    """The body of a form with a file."""
    disposition = 'Content-Disposition: form-data; name="file"; filename="take.wav"'
    head = f"--{BOUNDARY}\r\n{disposition}\r\n\r\n".encode()
    return head + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def creations(callers: Callers, token_id: int, content: bytes) -> Iterator[tuple[str, Any]]:
    """Every way to create an upload, by name: each takes the metadata of a caller."""
    yield "stream", lambda caller: callers.stream_take(caller, token_id, content)
    yield "form", lambda caller: callers.send_form(caller, token_id, content)
    yield "resumable", lambda caller: callers.create(caller, token_id)
    yield "tus", lambda caller: callers.create_partial(caller)

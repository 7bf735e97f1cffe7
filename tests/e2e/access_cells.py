"""Calls of every rpc as every kind of caller, for the cells of docs/access.md."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import grpc
import httpx
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gateway.contract import Binding
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc

TIMEOUT_SECONDS = 30
TUS = {"tus-resumable": "1.0.0", "upload-offset": "0"}
_TUS_TYPE = "application/offset+octet-stream"
_UNKNOWN_ID = 999_999
_VARIABLE = re.compile(r"{([^}]+)}")

# Some rpcs refuse a secret in the request, such as a refresh token.
_OWN_REASONS = frozenset(
    {"CREDENTIALS_INVALID", "CROSS_SITE_REQUEST", "PASSKEY_INVALID", "SESSION_ENDED"}
)
_ACCESS = {
    401: "401",
    403: "403",
    404: "404",
    grpc.StatusCode.UNAUTHENTICATED: "401",
    grpc.StatusCode.PERMISSION_DENIED: "403",
    grpc.StatusCode.NOT_FOUND: "404",
}
_BROKEN = frozenset(
    {
        *(500, 501, 502, 503, 504),
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNKNOWN,
    }
)


@dataclass(frozen=True)
class Rpc:
    """An rpc of the contract."""

    path: str
    method: MethodDescriptor

    @classmethod
    def of(cls, path: str) -> Rpc:
        """The rpc with a path such as `/sori.catalog.v1.CatalogService/GetToken`."""
        service, _, name = path.lstrip("/").partition("/")
        methods = descriptor_pool.Default().FindServiceByName(service).methods_by_name
        return cls(path, methods[name])

    def request(self, values: Mapping[str, str]) -> bytes:
        """A request with the fields of these names, if it has them; the others are empty."""
        message: Message = GetMessageClass(self.method.input_type)()
        for name in values.keys() & self.method.input_type.fields_by_name.keys():
            setattr(message, name, values[name])
        if "content" in self.method.input_type.fields_by_name:
            content: Any = message
            content.content.content_type = _TUS_TYPE
        return message.SerializeToString()


def answer_by_grpc(
    channel: grpc.Channel, rpc: Rpc, headers: Mapping[str, str], values: Mapping[str, str]
) -> str:
    """The cell for a call with one message: "401", "403", "404", or another answer."""
    stub: Any = channel.unary_stream(rpc.path)
    metadata = (*headers.items(), *TUS.items())
    responses = stub(rpc.request(values), metadata=metadata, timeout=TIMEOUT_SECONDS)
    try:
        next(responses, None)
    except grpc.RpcError:
        return cell(responses.code(), _reason_of(responses))
    # A watch does not end by itself.
    responses.cancel()
    return "yes"


def _reason_of(call: Any) -> str:
    status, info = rpc_status.from_call(cast("grpc.Call", call)), error_details_pb2.ErrorInfo()
    if status is not None and status.details:
        status.details[0].Unpack(info)
    return str(info.reason)


def answer_by_http(
    client: httpx.Client, binding: Binding, headers: Mapping[str, str], values: Mapping[str, str]
) -> str:
    """The cell for a call of a path: "401", "403", "404", or another answer."""
    path = _VARIABLE.sub(lambda found: values.get(found[1]) or _any_id(found[1]), binding.template)
    is_tus = path.startswith("/uploads")
    sent: dict[str, Any] = {"headers": {**headers, **(TUS if is_tus else {})}}
    if is_tus and binding.body:
        sent["headers"]["content-type"] = _TUS_TYPE
        sent["content"] = b"x"
    elif binding.body:
        sent["json"] = {}
    if "signature" in values:
        sent["params"] = values
    with client.stream(binding.verb, path, **sent) as answer:
        if answer.is_success:
            return "yes"
        body = answer.read()
    return cell(answer.status_code, _reason_in(body))


def _any_id(name: str) -> str:
    known = {"kind": "voice", "provider": "google", "token_id": "1"}
    is_text = name.endswith("_id")
    return known.get(name) or (str(uuid.uuid4()) if is_text else str(_UNKNOWN_ID))


def _reason_in(body: bytes) -> str:
    try:
        return str(json.loads(body)["details"][0]["reason"])
    except (ValueError, KeyError, IndexError):
        return ""


def cell(status: int | grpc.StatusCode, reason: str) -> str:
    """What the table says of an answer; the status itself if the call broke."""
    if status in _BROKEN:
        return f"{status} {reason}"
    return "yes" if reason in _OWN_REASONS else _ACCESS.get(status, "yes")


class Uploads:
    """Creates uploads, each with its job."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = upload_pb2_grpc.UploadServiceStub(channel)

    def new(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The ids of an upload that belongs to a caller."""
        request = pb.CreateUploadRequest(token_id=1)
        metadata = tuple(headers.items())
        upload = self._stub.CreateUpload(request, metadata=metadata, timeout=TIMEOUT_SECONDS)
        return {"upload_id": upload.upload_id, "job_id": upload.job_id}

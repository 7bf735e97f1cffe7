"""The public rpcs of the contract and their text fields, for attacks on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from sori.analysis.v1 import analysis_pb2
from sori.catalog.v1 import catalog_pb2
from sori.upload.v1 import upload_pb2

_SERVICES = (
    catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"],
    analysis_pb2.DESCRIPTOR.services_by_name["AnalysisService"],
    upload_pb2.DESCRIPTOR.services_by_name["UploadService"],
)
_DEEPEST = 3

Path = tuple[FieldDescriptor, ...]


@dataclass(frozen=True)
class Rpc:
    """A unary rpc."""

    method: MethodDescriptor

    @property
    def name(self) -> str:
        """The name of the rpc, such as `CreateActor`."""
        return str(self.method.name)

    def call(self, channel: grpc.Channel, request: bytes, timeout_seconds: float) -> None:
        """Call it with the bytes of a request."""
        path = f"/{self.method.containing_service.full_name}/{self.method.name}"
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        call(request, timeout=timeout_seconds)

    def requests_with(self, text: str) -> Iterator[tuple[str, bytes]]:
        """For each text field: its path, and a request in which it holds the text."""
        for path in _text_fields(self.method.input_type):
            request = GetMessageClass(self.method.input_type)()
            _set(request, path, text)
            yield ".".join(field.name for field in path), request.SerializeToString()


def unary_rpcs() -> list[Rpc]:
    """The rpcs with one request and one answer."""
    return [
        Rpc(method)
        for service in _SERVICES
        for method in service.methods
        if not method.client_streaming and not method.server_streaming
    ]


def _text_fields(message: Descriptor, above: Path = ()) -> Iterator[Path]:
    for field in message.fields:
        path = (*above, field)
        if field.type == FieldDescriptor.TYPE_STRING:
            yield path
        elif len(path) < _DEEPEST and _is_ours(field.message_type):
            yield from _text_fields(field.message_type, path)


def _is_ours(message: Descriptor | None) -> TypeGuard[Descriptor]:
    name = str(message.full_name) if message is not None else ""
    return name.startswith("sori.") or name == "google.protobuf.FieldMask"


def _set(message: Message, path: Path, text: str) -> None:
    for field in path[:-1]:
        inner = getattr(message, field.name)
        message = inner.add() if field.is_repeated else inner
    name = path[-1].name
    if path[-1].is_repeated:
        getattr(message, name).append(text)
    else:
        setattr(message, name, text)

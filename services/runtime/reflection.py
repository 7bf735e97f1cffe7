"""Server reflection: describes the services of a server to grpcurl and other generic clients.

Both versions of the protocol are served, v1 and v1alpha; they differ only in their name.
A server describes the services that it lists and the messages of their rpcs. It hides the other
services and messages of the same files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FileDescriptor,
    ServiceDescriptor,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import code_pb2
from grpc_reflection.v1alpha import reflection_pb2 as pb

V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"


def enable_reflection(server: grpc.aio.Server, names: Iterable[str]) -> None:
    """Describe the services with these full names, and reflection itself.

    The modules of the services must be imported.
    """
    names = tuple(names)
    servicer = _Servicer((*names, V1, V1ALPHA), _pool((*names, V1ALPHA)))
    # The messages of both versions have the same fields.
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.answers,
        request_deserializer=pb.ServerReflectionRequest.FromString,
        response_serializer=pb.ServerReflectionResponse.SerializeToString,
    )
    for version in (V1, V1ALPHA):
        generic = grpc.method_handlers_generic_handler(version, {"ServerReflectionInfo": handler})
        server.add_generic_rpc_handlers((generic,))


class _Servicer:
    """Answers questions about the files of a pool."""

    def __init__(self, names: tuple[str, ...], pool: DescriptorPool) -> None:
        self._names = names
        self._pool = pool

    async def answers(
        self, requests: AsyncIterator[pb.ServerReflectionRequest], _: object
    ) -> AsyncIterator[pb.ServerReflectionResponse]:
        """Answer each request of a stream."""
        async for request in requests:
            answer = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
            try:
                self._fill(answer, request)
            except KeyError:
                answer.error_response.error_code = code_pb2.NOT_FOUND
                answer.error_response.error_message = "There is no such name."
            yield answer

    def _fill(
        self, answer: pb.ServerReflectionResponse, request: pb.ServerReflectionRequest
    ) -> None:
        match request.WhichOneof("message_request"):
            case "list_services":
                services = [pb.ServiceResponse(name=name) for name in self._names]
                answer.list_services_response.service.extend(services)
            case "file_by_filename":
                _add_files(answer, self._pool.FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                _add_files(answer, self._file_of(request.file_containing_symbol))
            case "file_containing_extension":
                wanted = request.file_containing_extension
                extended = self._pool.FindMessageTypeByName(wanted.containing_type)
                found = self._pool.FindExtensionByNumber(extended, wanted.extension_number)
                _add_files(answer, self._pool.FindFileContainingSymbol(found.full_name))
            case "all_extension_numbers_of_type":
                extended = self._pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
                numbers = [each.number for each in self._pool.FindAllExtensions(extended)]
                answer.all_extension_numbers_response.base_type_name = extended.full_name
                answer.all_extension_numbers_response.extension_number.extend(numbers)
            case _:
                answer.error_response.error_code = code_pb2.INVALID_ARGUMENT
                answer.error_response.error_message = "The request asks for nothing."

    def _file_of(self, symbol: str) -> FileDescriptor:
        with suppress(KeyError):
            return self._pool.FindFileContainingSymbol(symbol)
        # The pool finds members only by the method for their kind.
        for find in (self._pool.FindFieldByName, self._pool.FindMethodByName):
            with suppress(KeyError):
                find(symbol)
                return self._pool.FindFileContainingSymbol(symbol.rpartition(".")[0])
        raise KeyError(symbol)


def _add_files(answer: pb.ServerReflectionResponse, file: FileDescriptor) -> None:
    """Add a file and its imports, each once."""
    files = {each.name: each for each in reversed(list(_with_imports(file)))}
    answer.file_descriptor_response.file_descriptor_proto.extend(
        _proto(each).SerializeToString() for each in files.values()
    )


def _pool(names: Iterable[str]) -> DescriptorPool:
    """The files of these services and their imports, without hidden services and messages."""
    services = [descriptor_pool.Default().FindServiceByName(name) for name in names]
    visible = {service.full_name for service in services} | _used_types(services)
    own = {service.file.name for service in services}
    pool = DescriptorPool()
    pool.Add(_v1_file())
    added = set[str]()
    for service in services:
        for file in _with_imports(service.file):
            if file.name not in added:
                added.add(file.name)
                pool.Add(_visible_part(file, visible) if file.name in own else _proto(file))
    return pool


def _used_types(services: Iterable[ServiceDescriptor]) -> set[str]:
    """Full names of all messages and enums that the rpcs of these services use."""
    found = set[str]()
    methods = [method for service in services for method in service.methods]
    queue: list[Descriptor | EnumDescriptor | None] = [
        each for method in methods for each in (method.input_type, method.output_type)
    ]
    while queue:
        each = queue.pop()
        if each is None or each.full_name in found:
            continue
        found.add(each.full_name)
        queue.append(each.containing_type)
        if isinstance(each, Descriptor):
            for field in each.fields:
                queue += [field.message_type, field.enum_type]
    return found


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    """The imports of a file, each after its own imports, then the file; may repeat files."""
    for imported in file.dependencies:
        yield from _with_imports(imported)
    yield file


def _visible_part(file: FileDescriptor, visible: set[str]) -> FileDescriptorProto:
    proto = _proto(file)
    for symbols in (proto.service, proto.message_type, proto.enum_type):
        kept = [each for each in symbols if f"{proto.package}.{each.name}" in visible]
        del symbols[:]
        symbols.extend(kept)  # type: ignore[arg-type]
    return proto


def _proto(file: FileDescriptor) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    return proto


def _v1_file() -> FileDescriptorProto:
    """The file of v1, from that of v1alpha: the library has no v1."""
    v1alpha = descriptor_pool.Default().FindFileByName(pb.DESCRIPTOR.name)
    text = text_format.MessageToString(_proto(v1alpha))
    return text_format.Parse(text.replace("v1alpha", "v1"), FileDescriptorProto())

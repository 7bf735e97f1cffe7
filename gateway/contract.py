"""The HTTP surface of the contract, read from the descriptor set that the gateway transcodes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

_VARIABLE = re.compile(r"{([^}=]+)(?:=[^}]*)?}")


@dataclass(frozen=True)
class Binding:
    """One HTTP method and path of an rpc.

    rpc: the path of the rpc, such as `/sori.catalog.v1.CatalogService/GetToken`.
    verb: the HTTP method in capitals.
    template: the path, with variables such as `{id}`.
    body: the field of the request that the HTTP body fills: a name, `*` for all, or empty.
    is_stream: whether the rpc streams its response.
    """

    rpc: str
    verb: str
    template: str
    body: str
    is_stream: bool

    @property
    def variables(self) -> tuple[str, ...]:
        """The request's fields that the path binds, such as `id` or `token.id`."""
        return tuple(_VARIABLE.findall(self.template))


def methods(
    files: FileDescriptorSet, services: Collection[str]
) -> Iterator[tuple[str, MethodDescriptorProto]]:
    """The rpcs of services, given by their full names, in the contract's order.

    The first of each pair is the path of the rpc, as in `Binding.rpc`.
    """
    for file in files.file:
        for service in file.service:
            name = f"{file.package}.{service.name}"
            if name in services:
                for method in service.method:
                    yield f"/{name}/{method.name}", method


def read_bindings(descriptor: Path, services: Collection[str]) -> list[Binding]:
    """The HTTP bindings of services, given by their full names, in the contract's order."""
    files = FileDescriptorSet.FromString(descriptor.read_bytes())
    return [
        binding
        for rpc, method in methods(files, services)
        for binding in _bindings(
            rpc, method.options.Extensions[annotations_pb2.http], method.server_streaming
        )
    ]


def bound_fields(bindings: Sequence[Binding]) -> Mapping[str, list[str]]:
    """The fields that the path of each rpc binds, for the rpcs with such fields.

    Errors: ValueError if two paths of one rpc bind different fields.
    """
    found: dict[str, list[str]] = {}
    for binding in bindings:
        fields = list(binding.variables)
        if found.setdefault(binding.rpc, fields) != fields:
            raise ValueError(f"the paths of {binding.rpc} bind different fields")
    return {rpc: fields for rpc, fields in found.items() if fields}


def methods_of_paths(bindings: Sequence[Binding]) -> Mapping[str, list[str]]:
    """The HTTP methods of each path, as a pattern of Lua."""
    found: dict[str, list[str]] = {}
    for binding in bindings:
        found.setdefault(_lua_pattern(binding.template), []).append(binding.verb)
    return found


def _lua_pattern(template: str) -> str:
    """A pattern that matches the paths of a template; a variable is one segment without colon."""
    literals = [re.sub(r"(\W)", r"%\1", each) for each in _VARIABLE.split(template)[::2]]
    return "^" + "[^/:]+".join(literals) + "$"


def _bindings(rpc: str, rule: http_pb2.HttpRule, is_stream: bool) -> Iterator[Binding]:
    kind = rule.WhichOneof("pattern")
    if kind == "custom":
        yield Binding(rpc, rule.custom.kind, rule.custom.path, rule.body, is_stream)
    elif kind:
        yield Binding(rpc, kind.upper(), getattr(rule, kind), rule.body, is_stream)
    for further in rule.additional_bindings:
        yield from _bindings(rpc, further, is_stream)

"""The contract as the OpenAPI document needs it: comments, HTTP mappings, field behaviours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from gateway.access import Access, AccessOption

Json = dict[str, Any]
Descriptor = Any
"""A message, field, enum, method or service. protobuf has two implementations and no common
types."""

HTTP_BODY = "google.api.HttpBody"

_METHODS = ("get", "post", "put", "patch", "delete")
_VARIABLE = re.compile(r"{([^}=]+)(?:=[^}]*)?}")


@dataclass(frozen=True)
class Rule:
    """One HTTP mapping of a method.

    verb: in lower case.
    path: as the annotation writes it, such as `/actors/{actor.id}`.
    body: the field that the body becomes; `*` for all fields, empty for none.
    """

    verb: str
    path: str
    body: str

    @property
    def variables(self) -> list[str]:
        """The fields that the path binds, such as `actor.id`."""
        return _VARIABLE.findall(self.path)

    @property
    def template(self) -> str:
        """The path in OpenAPI's form: `/actors/{actor.id}` and `/actors/{id}` are the same."""
        return _VARIABLE.sub(lambda variable: "{" + last_name(variable[1]) + "}", self.path)


class Contract:
    """The files of a descriptor set, with their comments."""

    def __init__(self, descriptor_set: bytes) -> None:
        files = FileDescriptorSet.FromString(descriptor_set)
        self._files = files.file
        self._access = AccessOption(files)
        self._pool = DescriptorPool()
        self._comments: dict[str, str] = {}
        for file in self._files:
            self._pool.Add(file)
            self._comments |= dict(_comments(file))

    def services(self) -> Iterator[Descriptor]:
        """The product's services that have a method with an HTTP mapping."""
        for file in self._files:
            if file.package.startswith("sori."):
                for service in file.service:
                    found = self._pool.FindServiceByName(f"{file.package}.{service.name}")
                    if any(map(rules, found.methods)):
                        yield found

    def message(self, full_name: str) -> Descriptor:
        """A message by its full name. Errors: KeyError."""
        return self._pool.FindMessageTypeByName(full_name)

    def access(self, method: Descriptor) -> Access:
        """Who may call a public method. Errors: ValueError if it does not state it."""
        return self._access.of(method.full_name, method.GetOptions())

    def comment(self, descriptor: Descriptor) -> str:
        """The leading comment of an element; empty if it has none."""
        return self._comments.get(descriptor.full_name, "")

    def value_comments(self, enum: Descriptor) -> dict[str, str]:
        """The comment of each value of an enum."""
        return {
            value.name: self._comments.get(f"{enum.full_name}.{value.name}", "")
            for value in enum.values
        }


def rules(method: Descriptor) -> list[Rule]:
    """The HTTP mappings of a method."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return []
    rule = options.Extensions[annotations_pb2.http]
    found = [
        Rule(verb, getattr(each, verb), each.body)
        for each in (rule, *rule.additional_bindings)
        for verb in _METHODS
        if getattr(each, verb)
    ]
    custom = rule.custom
    return [*found, Rule(custom.kind.lower(), custom.path, rule.body)] if custom.kind else found


def is_required(found: Descriptor) -> bool:
    """Whether a request must set this field."""
    return field_behavior_pb2.REQUIRED in _behaviours(found)


def is_output_only(found: Descriptor) -> bool:
    """Whether only the server sets this field."""
    return field_behavior_pb2.OUTPUT_ONLY in _behaviours(found)


def last_name(path: str) -> str:
    """The last name of a path of fields."""
    return path.rpartition(".")[2]


def _behaviours(found: Descriptor) -> list[int]:
    return list(found.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def _comments(file: Any) -> Iterator[tuple[str, str]]:
    """The comments of a file by the full name of the element."""
    for location in file.source_code_info.location:
        if location.leading_comments:
            name = _name_at(file, list(location.path))
            if name:
                text = "\n".join(line.strip() for line in location.leading_comments.splitlines())
                yield f"{file.package}.{name}", text.strip()


def _name_at(file: Any, path: list[int]) -> str:
    """The name of the element at a path of descriptor.proto; empty for unnamed elements."""
    message, names = file, []
    for number, index in zip(path[::2], path[1::2], strict=False):
        kind = message.DESCRIPTOR.fields_by_number[number]
        if kind.message_type is None or not kind.is_repeated:
            return ""
        message = getattr(message, kind.name)[index]
        if not hasattr(message, "name"):
            return ""
        names.append(message.name)
    return ".".join(names) if len(path) % 2 == 0 else ""

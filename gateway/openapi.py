"""The OpenAPI document of the HTTP surface: `python -m gateway.openapi > openapi.json`.

It is generated from the descriptor set that the gateway transcodes with: the annotations
`google.api.http` and the comments. So the document can't contradict the gateway.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from gateway.settings import GatewaySettings
from services.version import product_version

Json = dict[str, Any]
Descriptor = Any
"""A message, field, enum, method or service. protobuf has two implementations and no common
types."""

TITLE = "Sori"
MAX_INT32 = 2**31 - 1

_METHODS = ("get", "post", "put", "patch", "delete")
_VARIABLE = re.compile(r"{([^}=]+)(?:=[^}]*)?}")
_OUTPUT_ONLY = field_behavior_pb2.OUTPUT_ONLY
_REQUIRED = field_behavior_pb2.REQUIRED

_SCALARS: Mapping[int, Json] = {
    1: {"type": "number", "format": "double"},
    2: {"type": "number", "format": "float"},
    3: {"type": "string", "format": "int64"},
    4: {"type": "string", "format": "uint64"},
    5: {"type": "integer", "format": "int32", "minimum": -MAX_INT32 - 1, "maximum": MAX_INT32},
    8: {"type": "boolean"},
    9: {"type": "string"},
    12: {"type": "string", "format": "byte"},
    13: {"type": "integer", "format": "uint32", "minimum": 0},
}
_WELL_KNOWN: Mapping[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.Empty": {"type": "object"},
}
_RAW = "google.api.HttpBody"
_JSON_IN_RAW = {
    "sori.analysis.v1.AnalysisService.ReportAnalysis": "sori.analysis.v1.AnalysisReport",
}
"""The messages that raw bodies contain as JSON, by method."""
_TUS_BYTES = "application/offset+octet-stream"
_ERROR: Json = {
    "description": "An error: a sentence for developers, and a reason for programs.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}},
}
_STATUS: Json = {
    "type": "object",
    "description": "A google.rpc.Status.",
    "properties": {
        "code": {"type": "integer", "description": "The gRPC status code."},
        "message": {"type": "string", "description": "A sentence for developers."},
        "details": {
            "type": "array",
            "description": "google.rpc.ErrorInfo first, with `reason` and `metadata`.",
            "items": {"type": "object"},
        },
    },
}


def openapi(descriptor_set: bytes) -> Json:
    """The document of all methods with an HTTP mapping."""
    files = FileDescriptorSet.FromString(descriptor_set)
    return _Document(files).build()


@dataclass
class _Document:
    files: FileDescriptorSet
    schemas: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pool = DescriptorPool()
        self._comments: dict[str, str] = {}
        for file in self.files.file:
            self._pool.Add(file)
            self._comments |= dict(_comments(file))

    def build(self) -> Json:
        """The document; collects the schemas along the way."""
        paths: dict[str, Json] = {}
        tags = []
        for file in self.files.file:
            if not file.package.startswith("sori."):
                continue
            for service in file.service:
                found = self._pool.FindServiceByName(f"{file.package}.{service.name}")
                if any(map(_rules, found.methods)):
                    tags.append({"name": found.name, "description": self._comment(found)})
                for method in found.methods:
                    for verb, path, body in _rules(method):
                        operation = self._operation(method, path, body)
                        paths.setdefault(_template(path), {})[verb] = operation
        return {
            "openapi": "3.0.3",
            "info": {"title": TITLE, "version": product_version()},
            "tags": tags,
            "paths": paths,
            "components": {"schemas": self.schemas | {"Status": _STATUS}},
        }

    def _operation(self, method: Descriptor, path: str, body: str) -> Json:
        variables = _VARIABLE.findall(path)
        summary, _, description = self._comment(method).partition("\n\n")
        operation: Json = {
            "operationId": method.name,
            "tags": [method.containing_service.name],
            "summary": summary.replace("\n", " "),
            "description": description,
            "parameters": [
                *(self._path_parameter(method.input_type, name) for name in variables),
                *self._query_parameters(method.input_type, {*variables, body}, body),
            ],
            "responses": {**self._success(method), "default": _ERROR},
        }
        if body:
            operation["requestBody"] = self._body(method, body)
        return operation

    def _path_parameter(self, message: Descriptor, name: str) -> Json:
        *parents, last = name.split(".")
        for parent in parents:
            message = message.fields_by_name[parent].message_type
        found = message.fields_by_name[last]
        parameter = self._parameter(last, found)
        return parameter | {"in": "path", "required": True}

    def _query_parameters(self, message: Descriptor, mapped: set[str], body: str) -> Iterator[Json]:
        if body == "*":
            return
        for each in message.fields:
            is_mapped = each.name in mapped
            is_message = each.message_type is not None
            if is_mapped or (is_message and each.message_type.full_name not in _WELL_KNOWN):
                continue
            required = {"required": True} if _REQUIRED in _behaviours(each) else {}
            yield self._parameter(each.name, each) | {"in": "query"} | required

    def _parameter(self, name: str, found: Descriptor) -> Json:
        return {
            "name": name,
            "schema": self._schema(found),
            "description": self._comment(found),
        }

    def _body(self, method: Descriptor, body: str) -> Json:
        if body == "*":
            schema = self._reference(method.input_type)
        else:
            message = method.input_type.fields_by_name[body].message_type
            if _answers_in_headers(method):
                return {"content": {_TUS_BYTES: {"schema": {"type": "string", "format": "binary"}}}}
            if method.full_name in _JSON_IN_RAW:
                message = self._pool.FindMessageTypeByName(_JSON_IN_RAW[method.full_name])
            elif message.full_name == _RAW:
                return {
                    "required": True,
                    "content": {"multipart/form-data": {"schema": _UPLOAD_FORM}},
                }
            schema = self._reference(message, partial="patch" in _rules(method)[0])
        return {"required": True, "content": {"application/json": {"schema": schema}}}

    def _success(self, method: Descriptor) -> Json:
        if _answers_in_headers(method):
            return {"2XX": {"description": "Done. The result is in the headers."}}
        return {"200": self._answer(method)}

    def _answer(self, method: Descriptor) -> Json:
        message, streams = method.output_type, method.server_streaming
        kind = "text/event-stream" if streams else "application/json"
        return {
            "description": self._comment(message) or "Done.",
            "content": {kind: {"schema": self._reference(message)}},
        }

    def _reference(self, message: Descriptor, *, partial: bool = False) -> Json:
        """A reference to a message.

        partial: for updates: no field is required.
        """
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = f"{message.name}Update" if partial else message.name
        if name not in self.schemas:
            # Registered before its fields, which may refer to it.
            self.schemas[name] = {}
            self.schemas[name] = self._object(message)
            if partial:
                self.schemas[name].pop("required", None)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, message: Descriptor) -> Json:
        schema: Json = {
            "type": "object",
            "description": self._comment(message),
            "properties": {each.name: self._property(each) for each in message.fields},
        }
        required = [each.name for each in message.fields if _REQUIRED in _behaviours(each)]
        return schema | ({"required": required} if required else {})

    def _property(self, found: Descriptor) -> Json:
        schema = self._schema(found)
        described = {"description": self._comment(found)}
        if _OUTPUT_ONLY in _behaviours(found):
            described["readOnly"] = True  # type: ignore[assignment]
        return {"allOf": [schema], **described} if "$ref" in schema else schema | described

    def _schema(self, found: Descriptor) -> Json:
        if found.message_type is not None:
            schema = self._reference(found.message_type)
        elif found.enum_type is not None:
            schema = {"type": "string", "enum": [value.name for value in found.enum_type.values]}
        else:
            schema = dict(_SCALARS[found.type])
        return {"type": "array", "items": schema} if found.is_repeated else schema

    def _comment(self, descriptor: Descriptor) -> str:
        return self._comments.get(descriptor.full_name, "")


_UPLOAD_FORM: Json = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary"}},
}


def _rules(method: Descriptor) -> list[tuple[str, str, str]]:
    """The HTTP mappings of a method: verb, path and body."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return []
    rule = options.Extensions[annotations_pb2.http]
    rules = [
        (verb, getattr(each, verb), each.body)
        for each in (rule, *rule.additional_bindings)
        for verb in _METHODS
        if getattr(each, verb)
    ]
    custom = rule.custom
    return [*rules, (custom.kind.lower(), custom.path, rule.body)] if custom.kind else rules


def _answers_in_headers(method: Descriptor) -> bool:
    """Whether the method belongs to tus, whose responses have no JSON."""
    found: bool = method.output_type.full_name == _RAW
    return found


def _template(path: str) -> str:
    """A path in OpenAPI's form: `/actors/{actor.id}` and `/actors/{id}` are the same."""
    return _VARIABLE.sub(lambda variable: "{" + variable[1].split(".")[-1] + "}", path)


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


def main() -> None:
    """Write the document of the built contract to stdout."""
    path: Path = GatewaySettings.model_fields["gateway_descriptor"].default
    json.dump(openapi(path.read_bytes()), sys.stdout, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main()

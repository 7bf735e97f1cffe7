"""The OpenAPI document describes the complete HTTP surface."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from jsonschema_rs import meta

from gateway.openapi import openapi
from services.version import product_version

Json = dict[str, Any]

DESCRIPTOR = (Path(__file__).parents[2] / "build" / "sori.binpb").read_bytes()
DOCUMENT = openapi(DESCRIPTOR)


def operations() -> Iterator[tuple[str, Json]]:
    for path, verbs in DOCUMENT["paths"].items():
        for operation in verbs.values():
            yield path, operation


def test_every_method_with_an_http_mapping_is_listed() -> None:
    mapped = {
        method.name
        for file in FileDescriptorSet.FromString(DESCRIPTOR).file
        for service in file.service
        for method in service.method
        if method.options.HasExtension(annotations_pb2.http)
    }
    assert {operation["operationId"] for _, operation in operations()} == mapped


def test_it_has_the_version_of_the_product() -> None:
    assert DOCUMENT["info"]["version"] == product_version()


def test_every_operation_has_a_unique_name() -> None:
    names = [operation["operationId"] for _, operation in operations()]
    assert len(set(names)) == len(names)


def test_every_variable_of_a_path_is_a_parameter() -> None:
    for path, operation in operations():
        in_path = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
        assert re.findall(r"{([^}]+)}", path) == in_path


def test_everything_is_described() -> None:
    for _, operation in operations():
        assert operation["summary"]
        assert all(each["description"] for each in operation["parameters"])
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            assert described["description"], f"{name}.{field}"


def test_an_update_requires_no_field() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert "name" in schemas["Actor"]["required"]
    assert "required" not in schemas["ActorUpdate"]


def test_every_reference_leads_to_a_schema() -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert names <= set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_schema_is_valid(name: str) -> None:
    assert meta.is_valid(DOCUMENT["components"]["schemas"][name])

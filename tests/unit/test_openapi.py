"""The OpenAPI document describes the complete HTTP surface, and its tables fit the contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc import StatusCode
from jsonschema_rs import Draft202012Validator, meta

import services.analysis.errors
import services.catalog.errors
import services.runtime.shared_errors
import services.upload.errors  # noqa: F401
from gateway.local_replies import LOCAL_REPLIES
from gateway.openapi import openapi
from gateway.openapi_contract import HTTP_BODY, Contract, rules
from gateway.openapi_facts import (
    ALWAYS_SET,
    ANALYSIS_OUTPUT_FIELDS,
    FIELDS,
    NEEDED_FIELDS,
    REASON_STATUSES,
)
from gateway.openapi_http import (
    HEADERS,
    OTHER_RESPONSES,
    RAW_BODIES,
    REQUEST_HEADERS,
    REQUIRED_HEADERS,
    SUCCESSES,
)
from gateway.openapi_static import STATIC_SCHEMAS
from services.analyzer.analysis import AnalysisResults, PitchResult, WordResult
from services.runtime.errors import SoriError
from services.version import product_version

Json = dict[str, Any]

DESCRIPTOR = (Path(__file__).parents[2] / "build" / "sori.binpb").read_bytes()
DOCUMENT = openapi(DESCRIPTOR)
SCHEMAS = DOCUMENT["components"]["schemas"]
FILES = [
    file
    for file in FileDescriptorSet.FromString(DESCRIPTOR).file
    if file.package.startswith("sori.")
]
METHODS = {
    method.name: method
    for service in Contract(DESCRIPTOR).services()
    for method in service.methods
    if rules(method)
}
HTTP_STATUSES = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.INTERNAL: 500,
    StatusCode.DATA_LOSS: 500,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
"""What Envoy's transcoder makes of a gRPC status."""


def operations() -> Iterator[tuple[str, Json]]:
    for path, verbs in DOCUMENT["paths"].items():
        for operation in verbs.values():
            yield path, operation


def resolved(part: Json) -> Json:
    """A parameter or header, also if it is a reference."""
    found: Any = DOCUMENT
    if "$ref" not in part:
        return part
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def parameters(operation_id: str, place: str) -> dict[str, Json]:
    """The parameters of an operation in the path, the query or the headers."""
    found = next(each for _, each in operations() if each["operationId"] == operation_id)
    all_of_them = map(resolved, found["parameters"])
    return {each["name"]: each for each in all_of_them if each["in"] == place}


def operation(operation_id: str) -> Json:
    return next(each for _, each in operations() if each["operationId"] == operation_id)


def is_valid(schema: Json, value: object) -> bool:
    """Whether a value matches a schema of the document."""
    text = json.dumps({**schema, "components": DOCUMENT["components"]})
    # OpenAPI 3.0 writes `nullable` for what JSON Schema writes as a type.
    text = re.sub(r'"type": "(\w+)"([^{}]*), "nullable": true', r'"type": ["\1", "null"]\2', text)
    return Draft202012Validator(json.loads(text)).is_valid(value)


def test_every_method_with_an_http_mapping_is_listed() -> None:
    mapped = {
        method.name
        for file in FILES
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
    for path, each in operations():
        assert re.findall(r"{([^}]+)}", path) == list(parameters(each["operationId"], "path"))


def test_everything_is_described() -> None:
    for _, each in operations():
        assert each["summary"]
        assert each["description"]
        assert all(resolved(parameter)["description"] for parameter in each["parameters"])
    for name, schema in SCHEMAS.items():
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            assert described["description"], f"{name}.{field}"


def test_no_response_has_the_comments_of_google() -> None:
    assert operation("DeleteActor")["responses"]["200"]["description"] == "Done."
    assert "google" not in json.dumps([each["responses"] for _, each in operations()])


def test_an_update_requires_no_field() -> None:
    assert "name" in SCHEMAS["ActorInput"]["required"]
    assert "required" not in SCHEMAS["ActorUpdate"]


def test_a_body_has_no_field_that_the_path_or_the_server_sets() -> None:
    for name in ("ActorUpdate", "TokenUpdate", "ScriptUpdate", "ActorInput", "TokenInput"):
        assert not SCHEMAS[name]["properties"].keys() & {"id", "create_time", "view_count"}
    assert "requestBody" not in operation("CancelAnalysis")
    assert "requestBody" not in operation("RecordTokenView")


def test_a_response_requires_the_fields_that_it_always_has() -> None:
    assert SCHEMAS["Actor"]["required"] == list(SCHEMAS["Actor"]["properties"])
    assert set(SCHEMAS["AnalysisResult"]["properties"]) - set(
        SCHEMAS["AnalysisResult"]["required"]
    ) == {"result", "failure_reason"}


@pytest.mark.parametrize(
    ("operation_id", "name"),
    [("GetActor", "id"), ("UpdateToken", "id"), ("UploadAudioForm", "token_id")],
)
def test_an_id_in_a_path_is_1_or_more(operation_id: str, name: str) -> None:
    assert parameters(operation_id, "path")[name]["schema"]["minimum"] == 1


def test_every_operation_accepts_the_languages_of_the_learner() -> None:
    for _, each in operations():
        assert "Accept-Language" in parameters(each["operationId"], "header")


def test_an_upload_is_a_form_with_a_request_id() -> None:
    body = operation("UploadAudioForm")["requestBody"]["content"]["multipart/form-data"]
    assert body["schema"]["required"] == ["file"]
    assert "Idempotency-Key" in parameters("UploadAudioForm", "header")


def test_the_progress_is_an_event_stream() -> None:
    content = operation("WatchAnalysis")["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream"]
    event = content["text/event-stream"]["example"].removeprefix("data: ")
    assert is_valid(SCHEMAS["AnalysisProgress"], json.loads(event))


def test_tus_requests_and_responses_list_their_headers() -> None:
    create = parameters("CreateTusUpload", "header")
    assert create["Tus-Resumable"]["required"]
    assert {"Upload-Length", "Upload-Metadata", "Idempotency-Key"} <= set(create)
    assert parameters("WriteTusUpload", "header")["Upload-Offset"]["required"]
    assert "Location" in operation("CreateTusUpload")["responses"]["201"]["headers"]
    assert "Upload-Offset" in operation("WriteTusUpload")["responses"]["204"]["headers"]


@pytest.mark.parametrize(
    "name", ["GetActor", "ListTokens", "SearchActors", "SearchTokens", "GetAnalysisResult"]
)
def test_a_read_states_its_etag_and_that_the_client_may_have_the_response(name: str) -> None:
    assert "If-None-Match" in parameters(name, "header")
    responses = operation(name)["responses"]
    assert "ETag" in responses["200"]["headers"]
    assert "content" not in responses["304"]


@pytest.mark.parametrize("name", ["UpdateToken", "DeleteToken"])
def test_a_change_of_a_resource_states_its_condition(name: str) -> None:
    assert "If-Match" in parameters(name, "header")
    assert "`ETAG_MISMATCH`" in operation(name)["responses"]["412"]["description"]


def test_an_operation_lists_the_statuses_of_its_errors() -> None:
    create = operation("CreateActor")["responses"]
    assert "`ALREADY_EXISTS`" in create["409"]["description"]
    assert "`REQUEST_ID_REUSED`" in create["422"]["description"]
    assert {"401", "403"} <= set(operation("ReportAnalysis")["responses"])
    assert "413" not in operation("GetActor")["responses"]


def test_an_operation_lists_the_errors_of_the_gateway() -> None:
    always = {reply.sent_as or reply.http_status for reply in LOCAL_REPLIES}
    always -= {0, 401, 403, 404, 405, 413}
    for _, each in operations():
        body_only = {415} if "requestBody" not in each else set()
        assert {str(status) for status in always - body_only} <= set(each["responses"])


def test_only_some_operations_need_credentials() -> None:
    token: Json = {"accessToken": []}
    assert operation("GetToken")["security"] == []
    assert operation("ReportAnalysis")["security"] == []
    assert operation("DeleteToken")["security"] == [token]
    assert operation("GetMe")["security"] == [token]
    optional = operation("ListAnalyses")["security"]
    assert optional[0] == token
    assert {} in optional
    assert {"accessTokenParameter": []} in operation("WatchAnalysis")["security"]


def test_every_credential_is_described() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    used = {name for _, each in operations() for way in each["security"] for name in way}
    assert used == set(schemes)
    assert all(scheme["description"] for scheme in schemes.values())


def test_an_operation_lists_the_refusals_of_its_callers() -> None:
    def reasons(name: str, status: str) -> str:
        return str(operation(name)["responses"].get(status, {}).get("description", ""))

    assert "`CREDENTIALS_INVALID`" in reasons("GetToken", "401")
    assert "`CREDENTIALS_MISSING`" not in reasons("GetToken", "401")
    assert "`CREDENTIALS_MISSING`" in reasons("ListAnalyses", "401")
    assert "`ROLE_MISSING`" in reasons("DeleteToken", "403")
    assert "`ROLE_MISSING`" not in reasons("GetMe", "403")
    assert "CREDENTIALS" not in reasons("ReportAnalysis", "401")


def test_an_operation_names_the_role_that_it_needs() -> None:
    assert "`catalog_editor`" in operation("DeleteToken")["description"]
    assert "`operator`" in operation("ListAccounts")["description"]


@pytest.mark.parametrize("error", SoriError.__subclasses__(), ids=lambda error: error.reason)
def test_every_reason_has_the_status_of_its_error(error: type[SoriError]) -> None:
    if error.__module__.startswith("services."):
        assert REASON_STATUSES[error.reason] == (error.http_status or HTTP_STATUSES[error.code])


def test_the_tables_name_only_what_the_contract_has() -> None:
    fields = {
        (message.name, field.name)
        for file in FILES
        for message in file.message_type
        for field in message.field
    }
    names = {name for _, name in fields}
    paths = {f"{message}.{field}" for message, field in fields}
    assert {key for key in FIELDS if "." in key} <= paths
    assert {key for key in FIELDS if "." not in key} <= names
    assert paths >= ALWAYS_SET | ANALYSIS_OUTPUT_FIELDS
    assert set(NEEDED_FIELDS.values()) <= names
    tables = (REQUEST_HEADERS, REQUIRED_HEADERS, SUCCESSES, OTHER_RESPONSES, RAW_BODIES)
    assert {method for table in tables for method in table} <= set(METHODS)
    used = {name for names in REQUEST_HEADERS.values() for name in names}
    assert used <= set(HEADERS)


def test_the_body_of_every_method_that_parses_it_itself_is_described() -> None:
    parsed = {
        name
        for name, method in METHODS.items()
        for rule in rules(method)
        if rule.body not in ("", "*")
        if method.input_type.fields_by_name[rule.body].message_type.full_name == HTTP_BODY
    }
    assert parsed <= set(RAW_BODIES)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("ReferenceAnalyzerOutput", AnalysisResults),
        ("PitchContours", PitchResult),
        ("WordScore", WordResult),
    ],
)
def test_the_result_of_the_reference_analyzer_is_described(name: str, result: type) -> None:
    assert set(STATIC_SCHEMAS[name]["properties"]) == set(get_type_hints(result))


def test_every_reference_leads_to_a_schema() -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert names <= set(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_valid(name: str) -> None:
    assert meta.is_valid(SCHEMAS[name])


@pytest.mark.parametrize("operation_id", sorted(METHODS))
def test_every_example_is_valid(operation_id: str) -> None:
    found = operation(operation_id)
    parts = [found.get("requestBody", {}), *found["responses"].values()]
    media = [each for part in parts for each in part.get("content", {}).values()]
    examples = [each for each in media if "example" in each]
    assert [each for each in examples if not is_valid(each["schema"], each["example"])] == []

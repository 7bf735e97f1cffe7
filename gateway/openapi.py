"""The OpenAPI document of the HTTP surface: `python -m gateway.openapi > openapi.json`.

It is generated from the descriptor set that the gateway transcodes with, so it cannot contradict
the gateway. `openapi_contract` reads the annotations and comments, `openapi_schemas` describes
the messages. What the contract cannot state is in the tables of `openapi_facts` (fields, reasons
of errors) and `openapi_http` (headers, statuses, bodies), and in `local_replies`.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from gateway.local_replies import LOCAL_REPLIES
from gateway.openapi_access import SECURITY_SCHEMES, described, may_return, security
from gateway.openapi_contract import (
    HTTP_BODY,
    Contract,
    Descriptor,
    Json,
    Rule,
    is_required,
    last_name,
    rules,
)
from gateway.openapi_facts import NEEDED_FIELDS, REASON_STATUSES
from gateway.openapi_http import (
    BODY_STATUSES,
    HEADERS,
    NOT_MODIFIED,
    OTHER_RESPONSES,
    PRECONDITION_FAILED,
    RAW_BODIES,
    RAW_RESPONSES,
    REQUEST_HEADERS,
    REQUIRED_HEADERS,
    SUCCESSES,
    UNLISTED_STATUSES,
    Success,
)
from gateway.openapi_schemas import Direction, Schemas, example_of, mask_pattern
from gateway.settings import GatewaySettings
from services.version import product_version

TITLE = "Sori"
DESCRIPTION = """Upload a take of a practice clip, watch its analysis, and read the result.

1. Choose a token: `GET /tokens`, or `GET /tokens:search`.
2. Upload a take as a form, `POST /tokens/{token_id}/upload-audio`, or with a client of the tus
   protocol at `/uploads`. The answer has a `job_id`.
3. Watch `GET /tokens/analysis-progress/{job_id}` until "completed" or "failed".
4. Read `GET /tokens/analysis-result/{job_id}`.

Errors are a `Status` with a `reason` for programs, a sentence for developers, and a sentence for
the learner in the language of `Accept-Language`. The server ignores JSON fields that are not
described here. Every response has an `x-request-id`: state it when you report a problem."""
_LICENSE = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
_REASON_WORD = re.compile(r"\b[A-Z][A-Z_]+\b")
_FIRST_SENTENCE = re.compile(r"(.+?[.])(?= [A-Z`]|$)")
_GATEWAY_FAILURES = (500, 502)
"""The statuses of the local reply for all other failures."""


def openapi(descriptor_set: bytes) -> Json:
    """The document of all methods with an HTTP mapping."""
    return _Document(Contract(descriptor_set)).build()


class _Document:
    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._schemas = Schemas(contract)

    def build(self) -> Json:
        """The document; collects the schemas along the way."""
        paths: dict[str, Json] = {}
        services = list(self._contract.services())
        methods = [method for service in services for method in service.methods if rules(method)]
        self._schemas.expect_responses([method.output_type for method in methods])
        for method in methods:
            for number, rule in enumerate(rules(method)):
                operation = self._operation(method, rule)
                if number:
                    operation["operationId"] += f"By{rule.verb.title()}"
                paths.setdefault(rule.template, {})[rule.verb] = operation
        return {
            "openapi": "3.0.3",
            "info": {
                "title": TITLE,
                "version": product_version(),
                "description": DESCRIPTION,
                "license": _LICENSE,
                "contact": {"name": TITLE},
            },
            # Relative to the document, so that it is right behind any host and path prefix.
            "servers": [{"url": ".", "description": "The gateway that serves this document."}],
            "security": [],
            "tags": [
                {"name": service.name, "description": self._contract.comment(service)}
                for service in services
            ],
            "paths": paths,
            "components": {
                "schemas": self._schemas.components,
                "parameters": dict(_header_parameters()),
                "headers": dict(_header_components()),
                "securitySchemes": SECURITY_SCHEMES,
            },
        }

    def _operation(self, method: Descriptor, rule: Rule) -> Json:
        comment = self._contract.comment(method)
        access = self._contract.access(method)
        operation: Json = {
            "operationId": method.name,
            "tags": [method.containing_service.name],
            "summary": _summary(comment),
            "description": described(comment, access),
            "parameters": [
                *(self._path_parameter(method.input_type, name) for name in rule.variables),
                *self._query_parameters(method.input_type, rule),
                *_header_references(method, rule),
            ],
            "responses": {**self._success(method, rule), **self._errors(method, rule)},
            "security": security(access, is_event_stream=_is_event_stream(method)),
        }
        body = self._body(method, rule)
        return operation | ({"requestBody": body} if body else {})

    def _path_parameter(self, message: Descriptor, name: str) -> Json:
        *parents, last = name.split(".")
        for parent in parents:
            message = message.fields_by_name[parent].message_type
        parameter = self._parameter(message.fields_by_name[last])
        if "minimum" in parameter["schema"]:
            # Only a response to `validate_only` has no id.
            parameter["schema"]["minimum"] = 1
        return parameter | {"in": "path", "required": True}

    def _query_parameters(self, message: Descriptor, rule: Rule) -> Iterator[Json]:
        if rule.body == "*":
            return
        mapped = {*rule.variables, rule.body}
        for each in message.fields:
            if each.name in mapped:
                continue
            parameter = self._parameter(each) | {"in": "query"}
            if each.message_type and "$ref" in parameter["schema"]:
                raise ValueError(f"{each.full_name} is a message, which no query can contain")
            if each.message_type and each.message_type.name == "FieldMask":
                resource = message.fields_by_name[rule.body].message_type
                parameter["schema"]["pattern"] = mask_pattern(resource)
            yield parameter | ({"required": True} if is_required(each) else {})

    def _parameter(self, found: Descriptor) -> Json:
        return {
            "name": found.name,
            "schema": self._schemas.of_field(found, Direction.CREATE),
            "description": self._contract.comment(found),
        }

    def _body(self, method: Descriptor, rule: Rule) -> Json | None:
        """The request body; None if the path binds every field."""
        bound = {last_name(name) for name in rule.variables}
        if not rule.body:
            return None
        if rule.body == "*":
            if bound == {field.name for field in method.input_type.fields}:
                return None
            return self._json_body(method.input_type, Direction.CREATE, bound)
        message = method.input_type.fields_by_name[rule.body].message_type
        if message.full_name == HTTP_BODY:
            return self._raw_body(method)
        direction = Direction.UPDATE if rule.verb == "patch" else Direction.CREATE
        return self._json_body(message, direction, bound)

    def _raw_body(self, method: Descriptor) -> Json:
        raw = RAW_BODIES[method.name]
        if raw.message:
            return self._json_body(self._contract.message(raw.message), Direction.CREATE)
        return {"required": raw.required, "content": {raw.media_type: {"schema": raw.schema}}}

    def _json_body(
        self, message: Descriptor, direction: Direction, without: Collection[str] = ()
    ) -> Json:
        schema = self._schemas.reference(message, direction, without=without)
        return {
            "required": self._needs_body(schema, direction),
            "content": self._json(schema),
        }

    def _needs_body(self, schema: Json, direction: Direction) -> bool:
        """Whether a request without a body is refused: one that lacks a required field."""
        if direction is Direction.UPDATE or "$ref" not in schema:
            return True
        return "required" in self._schemas.components[schema["$ref"].rpartition("/")[2]]

    def _json(self, schema: Json) -> Json:
        example = example_of(schema, self._schemas.components)
        return {"application/json": {"schema": schema, "example": example}}

    def _success(self, method: Descriptor, rule: Rule) -> Json:
        success = SUCCESSES.get(method.name, Success())
        response: Json = {"description": self._answer_text(method.output_type)}
        names = (*success.always, *success.sometimes)
        if _is_read(method, rule) or "etag" in method.output_type.fields_by_name:
            names = (*names, "ETag")
        if names:
            response["headers"] = _headers(names)
        if method.output_type.full_name != HTTP_BODY:
            schema = self._schemas.reference(method.output_type, Direction.RESPONSE)
            response["content"] = (
                self._events(schema) if _is_event_stream(method) else self._json(schema)
            )
        elif method.name in RAW_RESPONSES:
            response["content"] = self._json(RAW_RESPONSES[method.name])
            response["description"] = RAW_RESPONSES[method.name]["description"]
        responses = {str(success.status): response} | {
            str(status): {"description": text}
            for status, text in OTHER_RESPONSES.get(method.name, {}).items()
        }
        if _is_read(method, rule):
            responses["304"] = {"description": NOT_MODIFIED, "headers": _headers(["ETag"])}
        return responses

    def _answer_text(self, message: Descriptor) -> str:
        """What a response contains: the comment of its message."""
        if message.full_name == HTTP_BODY:
            return "Done. The headers have the result."
        if message.full_name.startswith("google."):
            return "Done."
        return self._contract.comment(message)

    def _events(self, schema: Json) -> Json:
        """An event stream, whose events OpenAPI cannot describe: `data: {…}` and an empty line."""
        name = schema["$ref"].rpartition("/")[2]
        example = json.dumps(example_of(schema, self._schemas.components), ensure_ascii=False)
        return {
            "text/event-stream": {
                "schema": {
                    "type": "string",
                    "description": f"Server-sent events. The `data` of each is a JSON object:"
                    f" {name}.",
                    "x-event-schema": schema,
                },
                "example": f"data: {example}\n\n",
            }
        }

    def _errors(self, method: Descriptor, rule: Rule) -> Json:
        reasons: dict[int, list[str]] = defaultdict(list)
        for status, reason in chain(
            self._reasons(method, rule), self._gateway_reasons(method, rule)
        ):
            if reason not in reasons[status]:
                reasons[status].append(reason)
        return {str(status): _error(reasons[status], rule) for status in sorted(reasons)}

    def _gateway_reasons(self, method: Descriptor, rule: Rule) -> Iterator[tuple[int, str]]:
        """The statuses and reasons of the errors that the gateway returns itself."""
        rpc = f"/{method.containing_service.full_name}/{method.name}"
        access = self._contract.access(method)
        for reply in LOCAL_REPLIES:
            status = reply.sent_as or reply.http_status
            if status in UNLISTED_STATUSES or (status in BODY_STATUSES and not rule.body):
                continue
            if not may_return(rpc, access, reply.reason):
                continue
            for each in (status,) if status else _GATEWAY_FAILURES:
                yield each, reply.reason

    def _reasons(self, method: Descriptor, rule: Rule) -> Iterator[tuple[int, str]]:
        """The statuses and reasons that the comments of the method and its service name."""
        yield 500, "INTERNAL_ERROR"
        if rule.verb == "options":
            return
        if _changes_resource(method, rule):
            yield PRECONDITION_FAILED, "ETAG_MISMATCH"
        for word in _REASON_WORD.findall(self._contract.comment(method)):
            if word in REASON_STATUSES:
                yield REASON_STATUSES[word], word
        fields = set(method.input_type.fields_by_name)
        if "Idempotency-Key" in REQUEST_HEADERS.get(method.name, ()):
            fields.add("request_id")
        for word in _REASON_WORD.findall(self._contract.comment(method.containing_service)):
            status = REASON_STATUSES.get(word)
            if status in BODY_STATUSES and not rule.body:
                continue
            if status and NEEDED_FIELDS.get(word) in {None, *fields}:
                yield status, word


def _header_references(method: Descriptor, rule: Rule) -> Iterator[Json]:
    names = [*REQUEST_HEADERS.get(method.name, ()), "Accept-Language"]
    if _is_read(method, rule):
        names.append("If-None-Match")
    if _changes_resource(method, rule):
        names.append("If-Match")
    required = REQUIRED_HEADERS.get(method.name, frozenset())
    for name in names:
        component = _parameter_component(name, name in required)
        yield {"$ref": f"#/components/parameters/{component}"}


def _changes_resource(method: Descriptor, rule: Rule) -> bool:
    """Whether the method updates or deletes a resource with an etag."""
    if rule.verb not in ("patch", "delete"):
        return False
    fields = method.input_type.fields_by_name
    resource = fields[rule.body].message_type if rule.body in fields else None
    return "etag" in fields or (resource is not None and "etag" in resource.fields_by_name)


def _is_read(method: Descriptor, rule: Rule) -> bool:
    """Whether the response has an etag of its content."""
    is_message = method.output_type.full_name != HTTP_BODY
    return rule.verb == "get" and is_message and not method.server_streaming


def _is_event_stream(method: Descriptor) -> bool:
    """Whether the response is a stream of server-sent events."""
    return bool(method.server_streaming) and method.output_type.full_name != HTTP_BODY


def _headers(names: Collection[str]) -> Json:
    """The headers of a response."""
    return {name: {"$ref": f"#/components/headers/{_header_component(name)}"} for name in names}


def _summary(comment: str) -> str:
    """The first sentence, without its full stop."""
    paragraph = " ".join(comment.partition("\n\n")[0].split())
    found = _FIRST_SENTENCE.match(paragraph)
    return (found[1] if found else paragraph).removesuffix(".")


def _error(reasons: list[str], rule: Rule) -> Json:
    error: Json = {"description": f"An error with the reason {_alternatives(reasons)}."}
    if rule.verb != "head":
        reference = {"$ref": "#/components/schemas/Status"}
        error["content"] = {"application/json": {"schema": reference}}
    return error


def _alternatives(reasons: list[str]) -> str:
    return " or ".join(f"`{reason}`" for reason in reasons)


def _header_component(name: str) -> str:
    return name.replace("-", "")


def _parameter_component(name: str, required: bool) -> str:
    return _header_component(name) + ("Required" if required else "")


def _header_parameters() -> Iterator[tuple[str, Json]]:
    used = {(name, False) for name in ("Accept-Language", "If-Match", "If-None-Match")}
    for method, names in REQUEST_HEADERS.items():
        used |= {(name, name in REQUIRED_HEADERS.get(method, ())) for name in names}
    for name, required in sorted(used):
        header = HEADERS[name]
        parameter: Json = {
            "name": name,
            "in": "header",
            "schema": header.schema,
            "description": header.description,
        }
        yield (
            _parameter_component(name, required),
            parameter | ({"required": True} if required else {}),
        )


def _header_components() -> Iterator[tuple[str, Json]]:
    of_methods = ((*each.always, *each.sometimes) for each in SUCCESSES.values())
    for name in dict.fromkeys(("ETag", *chain.from_iterable(of_methods))):
        header = HEADERS[name]
        yield (
            _header_component(name),
            {"schema": header.schema, "description": header.description},
        )


def main() -> None:
    """Write the document of the built contract to stdout."""
    path: Path = GatewaySettings.model_fields["gateway_descriptor"].default
    json.dump(openapi(path.read_bytes()), sys.stdout, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main()

"""Failures of schemathesis' checks that are right, each with its reason.

A check compares one response with the OpenAPI document. It fails here where OpenAPI cannot state
a rule, or where schemathesis sends what no client of the document sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemathesis import Case
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import RejectedPositiveData, UnsupportedMethodResponse

AnyCase = Case[Any]


def always(case: AnyCase) -> bool:
    return True


def is_update(case: AnyCase) -> bool:
    return case.method == "PATCH"


def has_empty_name(case: AnyCase) -> bool:
    return _has_empty_name(case.body)


def _has_empty_name(value: object) -> bool:
    if isinstance(value, dict):
        return "" in value or any(map(_has_empty_name, value.values()))
    return isinstance(value, list) and any(map(_has_empty_name, value))


def has_null(case: AnyCase) -> bool:
    values = case.body.values() if isinstance(case.body, dict) else ()
    return any(each is None or (isinstance(each, list) and None in each) for each in values)


def has_value_for_list(case: AnyCase) -> bool:
    lists = _names_of(case, {"array"})
    return any(
        name in lists
        and (not isinstance(value, list) or any(isinstance(each, list) for each in value))
        for name, value in _fields(case.body)
    )


def has_text_for_number(case: AnyCase) -> bool:
    numbers = _names_of(case, {"integer", "number"})
    return any(name in numbers and isinstance(value, str) for name, value in _fields(case.body))


def _names_of(case: AnyCase, types: set[str]) -> set[str]:
    """The names of all fields with these types in the document."""
    return {
        name
        for schema in case.operation.schema.raw_schema["components"]["schemas"].values()
        for name, value in schema.get("properties", {}).items()
        if value.get("type") in types
    }


def _fields(value: object) -> Iterator[tuple[str, object]]:
    """The fields of a JSON value, at all depths."""
    if isinstance(value, list):
        for each in value:
            yield from _fields(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name, each
            yield from _fields(each)


def has_empty_parameter(case: AnyCase) -> bool:
    return "" in (case.query or {}).values()


def clears_name(case: AnyCase) -> bool:
    masked = str((case.query or {}).get("update_mask")).split(",")
    is_masked = case.method == "PATCH" and not {"*", "name"}.isdisjoint(masked)
    return is_masked and isinstance(case.body, dict) and not case.body.get("name")


def has_number_for_enum(case: AnyCase) -> bool:
    names = {
        parameter.name
        for parameter in case.operation.query
        if "enum" in json.dumps(parameter.definition) or "$ref" in json.dumps(parameter.definition)
    }
    return any(
        name in names and re.fullmatch("-?[0-9]+", str(value))
        for name, value in (case.query or {}).items()
    )


def is_unknown_to_envoy(case: AnyCase) -> bool:
    return case.meta is not None and "QUERY" in str(case.meta.phase.data)


@dataclass(frozen=True)
class Expected:
    """One kind of failure that is right.

    failure: what the check reports.
    status: of the response.
    says: a regular expression that the response contains.
    why: the reason.
    sent: whether a case is of this kind.
    """

    failure: type[Failure]
    status: int
    says: str
    why: str
    sent: Callable[[AnyCase], bool] = always


EXPECTED = (
    Expected(
        RejectedPositiveData,
        400,
        '"REQUEST_MALFORMED"',
        "The server ignores unknown JSON fields, except one whose name is empty. OpenAPI 3.0 cannot"
        " restrict the names of other properties.",
        sent=has_empty_name,
    ),
    Expected(
        RejectedPositiveData,
        422,
        '"REQUEST_ID_REUSED"',
        "The request id is that of an earlier example with other content.",
    ),
    Expected(
        RejectedPositiveData,
        412,
        '"ETAG_MISMATCH"',
        "The etag in `If-Match` is valid, but of another state; only the server knows the present.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        r"(end|start)_time: must (be|not|leave)",
        "The order of times, and the length of a clip, relate several fields.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "must be an http or https URL",
        "No pattern describes all valid URLs; that of the document is only necessary.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "must be an e-mail address",
        "No pattern describes all valid addresses.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "name: must not contain control characters",
        "No practical pattern describes all control characters of Unicode.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "password: must be text of at most",
        "The length of a password is that of its NFKC form.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "return_to: must",
        "A login returns only to the origins of the settings.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        '"SECOND_FACTOR_EXISTS"',
        "An earlier example set up the second factor.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        '"PASSWORD_REFUSED"',
        "No pattern describes the list of common passwords.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        '"(MAIL_TOKEN_INVALID|TOTP_CODE_INVALID)"',
        "Only tokens of mails and codes of an authenticator app are valid.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "time_zone: must",
        "The time zone is a name of the IANA database.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "name: must not be empty",
        "With the mask `*` or `name`, an update without a name clears it.",
        sent=clears_name,
    ),
    Expected(
        RejectedPositiveData,
        400,
        "combining marks in a row",
        "No practical pattern describes the limit on combining marks.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "page_token: must",
        "Page tokens are opaque; only those of a previous page are valid.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "text: must have three letters",
        "No practical pattern describes all texts with three letters in a row.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        r"update_mask: |script.token_id: cannot be changed",
        "A path within a message needs the message, and the token of a script cannot be changed.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "Upload-(Length|Defer-Length|Metadata|Concat): must",
        "Which tus headers are required depends on other headers; metadata is base64.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        '"(EMPTY_RECORDING|EMPTY_PICTURE|SIZE_MISMATCH|INCOMPLETE_UPLOAD)"',
        "The declared size is not that of the random body.",
    ),
    Expected(
        RejectedPositiveData,
        415,
        '"UNSUPPORTED_(AUDIO|ASSET|PICTURE)"',
        "Random bytes are no audio, no JSON and no picture.",
    ),
    Expected(
        RejectedPositiveData,
        410,
        '"UPLOAD_ENDED"',
        "An earlier example ended the upload.",
    ),
    Expected(
        RejectedPositiveData,
        413,
        '"RECORDING_TOO_LARGE"',
        "The limit is a setting, so the document cannot state it.",
    ),
    Expected(
        RejectedPositiveData,
        460,
        '"CHUNK_CHECKSUM_MISMATCH"',
        "A random digest is not that of the random body.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "form: must",
        "Schemathesis adds random parts to the form, some of them malformed.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        "Upload-Checksum: must",
        "Schemathesis sends an empty header, which the pattern excludes.",
    ),
    Expected(
        RejectedPositiveData,
        400,
        '"REQUEST_MALFORMED"',
        "The gateway refuses encoded slashes and NUL in a path, which `type: string` allows.",
        sent=lambda case: "{upload_id}" in case.path,
    ),
    Expected(
        AcceptedNegativeData,
        200,
        "",
        "An update ignores fields that are null or empty, and an empty update changes nothing.",
        sent=is_update,
    ),
    Expected(
        AcceptedNegativeData,
        200,
        "",
        "A field or an element that is null is the same as an absent one, as in all JSON of"
        " protobuf.",
        sent=has_null,
    ),
    Expected(
        AcceptedNegativeData,
        200,
        "",
        "The gateway's JSON parser reads a single value as a list of one element, and a list in a"
        " list as its elements.",
        sent=has_value_for_list,
    ),
    Expected(
        AcceptedNegativeData,
        200,
        "",
        "A number may be a text, as in all JSON of protobuf.",
        sent=has_text_for_number,
    ),
    Expected(
        AcceptedNegativeData,
        200,
        "",
        "An enum may be given by its number, as in all JSON of protobuf.",
        sent=has_number_for_enum,
    ),
    Expected(
        AcceptedNegativeData,
        200,
        "",
        "An empty query parameter is the same as none.",
        sent=has_empty_parameter,
    ),
    Expected(
        AcceptedNegativeData,
        204,
        "",
        "The answer to OPTIONS does not depend on the upload, which need not exist.",
        sent=lambda case: case.method == "OPTIONS",
    ),
    Expected(
        UnsupportedMethodResponse,
        400,
        "",
        "Envoy's HTTP parser does not know the method QUERY.",
        sent=is_unknown_to_envoy,
    ),
)


def expected_by(failure: Failure, case: AnyCase, response: Response) -> Expected | None:
    """The entry that a failure belongs to; None if it is a fault."""
    return next(
        (
            each
            for each in EXPECTED
            if type(failure) is each.failure
            and response.status_code == each.status
            and re.search(each.says, response.text)
            and each.sent(case)
        ),
        None,
    )

"""Errors that callers may see: their base class, their translation, and common errors.

Domain code raises an error; the server's interceptor turns it into a `google.rpc.Status`.
Each service declares its own errors in its `errors.py`. Errors of several services are here
and in `shared_errors.py`.

    SoriError
    ├── InvalidField            fields of the request are invalid
    ├── RequestMalformed        the bytes of the request can't be parsed
    ├── DatabaseUnavailable, StorageUnavailable, TooManyCalls, ShuttingDown   retry
    ├── InternalError           an unexpected exception
    ├── services.runtime.shared_errors
    └── services.{catalog,upload,analysis,accounts}.errors
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import StatusCode

from services.runtime.language import Language, LearnerMessage
from services.runtime.text import shortened

DOMAIN = "sori"
MAX_VIOLATIONS = 20
MAX_FIELD_LENGTH = 100
MAX_DESCRIPTION_LENGTH = 200
MAX_METADATA_LENGTH = 1_000
MAX_STATUS_BYTES = 7 * 1024
"""gRPC refuses more than 8 KiB of trailers; 1 KiB is left for trailers besides the status."""

TOO_MANY_CALLS_RETRY_SECONDS = 2


@dataclass(frozen=True)
class FieldViolation:
    """One invalid field: its path in the request and how to correct it."""

    field: str
    description: str


class SoriError(Exception):
    """Base of all errors that callers may see; a subclass declares one reason.

    A subclass states in one place: `code`, its gRPC status; `developer`, the English text
    for developers and logs; `korean` and `english`, the texts for the learner; and
    `http_status`, if HTTP has a more exact status than that of the gRPC code. The
    texts are templates over the metadata given to the constructor. `reason` is the class's
    name in UPPER_SNAKE_CASE. An instance sets `retry_seconds` if a retry helps only later, and
    `learner` if it has a more exact text for the learner. Nothing else of an exception leaves
    the process.
    """

    code: ClassVar[StatusCode]
    reason: ClassVar[str]
    developer: ClassVar[str]
    learner: LearnerMessage
    http_status: ClassVar[int | None]

    def __init_subclass__(
        cls,
        *,
        code: StatusCode,
        developer: str,
        korean: str,
        english: str,
        http_status: int | None = None,
    ) -> None:
        cls.code, cls.developer, cls.http_status = code, developer, http_status
        cls.learner = LearnerMessage(korean, english)
        cls.reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()

    def __init__(self, violations: Iterable[FieldViolation] = (), **metadata: object) -> None:
        self.violations = tuple(violations)
        self.metadata = {name: str(value) for name, value in metadata.items()}
        self.retry_seconds: int | None = None
        super().__init__(self.developer.format(**self.metadata))

    @property
    def learner_message(self) -> LearnerMessage:
        """The texts for the learner, with the metadata filled in."""
        return self.learner.filled_with(self.metadata)


class InvalidField(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="{problem}.",
    korean="요청에 잘못된 값이 있습니다. 값을 고쳐 다시 보내 주세요.",
    english="The request has an invalid value. Correct it and try again.",
):
    """Fields of the request are missing or out of range; names the first MAX_VIOLATIONS."""

    def __init__(self, *violations: FieldViolation) -> None:
        named = [
            FieldViolation(
                shortened(each.field, MAX_FIELD_LENGTH),
                shortened(each.description, MAX_DESCRIPTION_LENGTH),
            )
            for each in violations[:MAX_VIOLATIONS]
        ]
        problem = "; ".join(f"{each.field}: {each.description}" for each in named)
        super().__init__(named, field=named[0].field, problem=problem)


class RequestMalformed(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer=(
        "The request can't be parsed: it is not a message of the contract, or a text is not UTF-8. "
        "In a URL, percent-encode the UTF-8 bytes of each character: %EA%B0%80 for 가."
    ),
    korean="요청에 UTF-8이 아닌 글자가 있어 읽을 수 없습니다. UTF-8로 다시 보내 주세요.",
    english="The request has text that is not UTF-8. Send it again as UTF-8.",
):
    """The bytes of the request are not protobuf, or its text is not UTF-8."""


class DatabaseUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="PostgreSQL does not respond. Retry in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is temporarily unavailable. Try again in a few seconds.",
):
    """PostgreSQL does not respond, or its schema is not migrated."""


class StorageUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="The object store does not respond. Retry the upload in a few seconds.",
    korean="저장소를 잠시 이용할 수 없습니다. 잠시 후 다시 업로드해 주세요.",
    english="Storage is temporarily unavailable. Upload again in a few seconds.",
):
    """S3 does not respond."""


class TooManyCalls(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer="This server handles {limit} calls, which is its limit. Retry in {seconds} s.",
    korean="잠시 이용자가 많습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is busy. Try again in a moment.",
    http_status=503,
):
    """A server handles as many calls as it may; metadata: limit, seconds."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit, seconds=TOO_MANY_CALLS_RETRY_SECONDS)
        self.retry_seconds = TOO_MANY_CALLS_RETRY_SECONDS


class ShuttingDown(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="This server is shutting down. Call again: another replica will answer.",
    korean="서버가 재시작됩니다. 다시 연결해 주세요.",
    english="The server is restarting. Connect again.",
):
    """The server received SIGTERM."""


class InternalError(
    SoriError,
    code=StatusCode.INTERNAL,
    developer="Something went wrong on our side. Report the request id {request_id}.",
    korean="서버에 문제가 생겼습니다. 문의하실 때 요청 번호를 알려 주세요: {request_id}",
    english="Something went wrong on our side. Report this request number: {request_id}",
):
    """An unexpected exception; metadata: request_id, to find the traceback in the log."""


def status_details(error: SoriError, language: Language) -> status_pb2.Status:
    """Translate an error into a `google.rpc.Status` that fits into the trailers of a call.

    Its message is the text for developers. Its details are `ErrorInfo` (reason, domain
    "sori", metadata), `LocalizedMessage` (the text for the learner) and, if fields are
    invalid, `BadRequest`; if a retry helps only later, `RetryInfo`. Values that come from a
    request are shortened until the trailers have at most MAX_STATUS_BYTES.
    """
    limit = MAX_METADATA_LENGTH
    while limit > 1:
        status = _status(error, language, limit)
        if trailer_bytes(status) <= MAX_STATUS_BYTES:
            return status
        limit //= 2
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    return status_pb2.Status(code=_code(error), message=error.reason, details=[_pack(info)])


def trailer_bytes(status: status_pb2.Status) -> int:
    """The size of a status in trailers, where it is in two forms.

    `grpc-message` is the message, percent-encoded: a Korean character has 9 bytes.
    `grpc-status-details-bin` is the status in base64.
    """
    message: bytes = status.message.encode()
    escaped = sum(not 0x20 <= byte <= 0x7E or byte == ord("%") for byte in message)
    size: int = status.ByteSize()
    return len(message) + 2 * escaped + (size + 2) // 3 * 4


def _status(error: SoriError, language: Language, limit: int) -> status_pb2.Status:
    """The status with each value of the metadata and violations of at most `limit` characters."""
    metadata = {name: shortened(value, limit) for name, value in error.metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata),
        error_details_pb2.LocalizedMessage(
            locale=language, message=error.learner.filled_with(metadata).text(language)
        ),
    ]
    if error.violations:
        details.append(_bad_request(error.violations, limit))
    if error.retry_seconds is not None:
        delay = Duration(seconds=error.retry_seconds)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=_code(error), message=error.developer.format(**metadata), details=map(_pack, details)
    )


def _bad_request(violations: Iterable[FieldViolation], limit: int) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=shortened(each.field, limit), description=shortened(each.description, limit)
            )
            for each in violations
        ]
    )


def _code(error: SoriError) -> int:
    code: int = code_pb2.Code.Value(error.code.name)
    return code


def _pack(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed

"""Errors that callers may see: their base class, their translation, and common errors.

Domain code raises an error; the server's interceptor turns it into a `google.rpc.Status`.
Each service declares its own errors in its `errors.py`. Errors of several services are here
and in `shared_errors.py`.

    SoriError
    ├── InvalidField            fields of the request are invalid
    ├── DatabaseUnavailable, StorageUnavailable, TooManyCalls, ShuttingDown   retry
    ├── InternalError           an unexpected exception
    ├── services.runtime.shared_errors
    └── services.{catalog,upload,analysis}.errors
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

DOMAIN = "sori"
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
    name in UPPER_SNAKE_CASE. An instance sets `retry_seconds` if a retry helps only later.
    Nothing else of an exception leaves the process.
    """

    code: ClassVar[StatusCode]
    reason: ClassVar[str]
    developer: ClassVar[str]
    learner: ClassVar[LearnerMessage]
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
    """Fields of the request are missing or out of range; names all of them."""

    def __init__(self, *violations: FieldViolation) -> None:
        problem = "; ".join(f"{each.field}: {each.description}" for each in violations)
        super().__init__(violations, field=violations[0].field, problem=problem)


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
    """Translate an error into a `google.rpc.Status`.

    Its message is the text for developers. Its details are `ErrorInfo` (reason, domain
    "sori", metadata), `LocalizedMessage` (the text for the learner) and, if fields are
    invalid, `BadRequest`; if a retry helps only later, `RetryInfo`.
    """
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
        error_details_pb2.LocalizedMessage(
            locale=language, message=error.learner_message.text(language)
        ),
    ]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=each.field, description=each.description
                    )
                    for each in error.violations
                ]
            )
        )
    if error.retry_seconds is not None:
        delay = Duration(seconds=error.retry_seconds)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.code.name), message=str(error), details=map(_pack, details)
    )


def _pack(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed

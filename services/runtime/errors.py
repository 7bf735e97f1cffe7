"""The one catalogue of errors that callers may see.

Each error is an exception that domain code raises. The server turns it into a
`google.rpc.Status` with an English message for developers and these details:
`ErrorInfo` (reason, domain "sori", metadata), `LocalizedMessage` (a sentence for
the learner), and `BadRequest` where fields are at fault. Nothing else about an
exception leaves the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import StatusCode

from services.runtime.language import Language

DOMAIN = "sori"


@dataclass(frozen=True)
class FieldViolation:
    """One bad field: its path in the request and what to do about it."""

    field: str
    description: str


class SoriError(Exception):
    """Base of the catalogue; a subclass is one reason.

    `reason` is the class's name in UPPER_SNAKE_CASE. `english` and `korean` are
    templates over the metadata given to the constructor. `http_status` replaces
    the status that the gRPC code has over HTTP.
    """

    code: ClassVar[StatusCode]
    reason: ClassVar[str]
    english: ClassVar[str]
    korean: ClassVar[str]
    http_status: ClassVar[int | None]

    def __init_subclass__(
        cls, *, code: StatusCode, english: str, korean: str, http_status: int | None = None
    ) -> None:
        cls.code, cls.english, cls.korean, cls.http_status = code, english, korean, http_status
        cls.reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()

    def __init__(self, violations: Iterable[FieldViolation] = (), **metadata: object) -> None:
        self.violations = tuple(violations)
        self.metadata = {name: str(value) for name, value in metadata.items()}
        super().__init__(self.sentence(Language.ENGLISH))

    def sentence(self, language: Language) -> str:
        """The error as a sentence that says what to do."""
        template = self.korean if language is Language.KOREAN else self.english
        return template.format(**self.metadata)


class InvalidField(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="{problem}.",
    korean="요청에 잘못된 값이 있습니다. 값을 고쳐 다시 보내 주세요.",
):
    """Fields of the request are missing or out of range, all of them at once."""

    def __init__(self, *violations: FieldViolation) -> None:
        problem = "; ".join(f"{each.field}: {each.description}" for each in violations)
        super().__init__(violations, field=violations[0].field, problem=problem)


class AlreadyExists(
    SoriError,
    code=StatusCode.ALREADY_EXISTS,
    english="Another {resource} has this {field} already. Choose another {field}.",
    korean="이미 쓰이고 있는 값입니다. 다른 값을 골라 주세요.",
):
    """A value that must be unique is taken; metadata: resource, field."""


class EtagMismatch(
    SoriError,
    code=StatusCode.ABORTED,
    english="The {resource} has changed since it was read: its etag is {etag} now. Read it again"
    " and repeat the change.",
    korean="그사이 내용이 바뀌었습니다. 다시 읽은 뒤 수정해 주세요.",
):
    """A resource is not what the caller has read; metadata: resource, etag."""


class ActorInUse(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The actor {actor_id} is in use by tokens ({token_count}). Delete them first, or set"
    " force.",
    korean="이 배우를 쓰는 토큰이 있습니다. 토큰을 먼저 지우거나 force를 지정해 주세요.",
    http_status=409,
):
    """An actor that tokens use was to be deleted; metadata: actor_id, token_count."""


class TokenInUse(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The token {token_id} has {users}. Delete them first, or set force.",
    korean="이 토큰에 딸린 대사나 분석이 있습니다. 먼저 지우거나 force를 지정해 주세요.",
    http_status=409,
):
    """A token that is used was to be deleted; metadata: token_id, users (scripts or analyses)."""


class ActorNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    english="There is no actor {actor_id}. Create it first or use another id.",
    korean="{actor_id}번 배우가 없습니다. 번호를 확인해 주세요.",
):
    """No such actor; metadata: actor_id, or several of them with commas."""


class TokenNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    english="There is no token {token_id}. Use the id of an existing token.",
    korean="{token_id}번 토큰이 없습니다. 번호를 확인해 주세요.",
):
    """No such token; metadata: token_id, or several of them with commas."""


class ScriptNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    english="There is no script {script_id}. Use the id of an existing script.",
    korean="{script_id}번 대사가 없습니다. 번호를 확인해 주세요.",
):
    """No such script; metadata: script_id, or several of them with commas."""


class JobNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    english="There is no job {job_id}. Use the job_id that the upload answered.",
    korean="해당 분석 작업이 없습니다. 업로드할 때 받은 job_id를 확인해 주세요.",
):
    """No such analysis job; metadata: job_id."""


class JobEnded(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The job {job_id} has ended and takes no recording. Upload again.",
    korean="이미 끝난 작업입니다. 다시 업로드해 주세요.",
):
    """A recording came for a job that has failed or was cancelled; metadata: job_id."""


class AnalysisEnded(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The analysis {job_id} has {status} already. There is nothing left to cancel.",
    korean="이미 끝난 분석이라 취소할 수 없습니다.",
):
    """An analysis that has ended was to be cancelled; metadata: job_id, status."""


class AnalysisNotFailed(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The analysis {job_id} is {status}. Only a failed one can be retried.",
    korean="실패한 분석만 다시 시도할 수 있습니다.",
):
    """An analysis that has not failed was to be retried; metadata: job_id, status."""


class RecordingMissing(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The recording of {job_id} never arrived. Upload it again.",
    korean="업로드가 끝나지 않은 녹음입니다. 다시 업로드해 주세요.",
):
    """An analysis without a recording was to be retried; metadata: job_id."""


class RequestIdReused(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="The request id was used for something else. Use a new one.",
    korean="이미 다른 요청에 쓰인 요청 번호입니다. 새 요청 번호를 써 주세요.",
    http_status=422,
):
    """A request id came again with another recording or other content."""


class UploadSuperseded(
    SoriError,
    code=StatusCode.ABORTED,
    english="Another upload with the same request id has taken over. Watch that one.",
    korean="같은 요청의 새 업로드가 시작되어 이 업로드는 중단되었습니다.",
):
    """A newer upload of the same request goes on instead of this one."""


class RecordingTooLong(
    SoriError,
    code=StatusCode.OUT_OF_RANGE,
    english="The recording is {seconds} s long, {limit_seconds} s at most are taken. Upload a"
    " shorter one.",
    korean="녹음이 너무 깁니다(최대 {limit_seconds}초). 대사만 녹음해 주세요.",
    http_status=413,
):
    """The file says that it is longer than is taken; metadata: seconds, limit_seconds."""


class UploadLost(
    SoriError,
    code=StatusCode.DATA_LOSS,
    english="What was uploaded is gone from the object store. Upload again from the start.",
    korean="업로드한 내용이 사라졌습니다. 처음부터 다시 업로드해 주세요.",
    http_status=410,
):
    """S3 does not have, or not unchanged, what it had confirmed."""


class UploadNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    english="There is no upload {upload_id}. Create one first.",
    korean="해당 업로드가 없습니다. 처음부터 다시 업로드해 주세요.",
):
    """No such upload; metadata: upload_id."""


class UploadEnded(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The upload {upload_id} is {state}{because}. Create a new one.",
    korean="이미 끝난 업로드입니다. 처음부터 다시 업로드해 주세요.",
    http_status=410,
):
    """An upload takes no more bytes; metadata: upload_id, state, because."""

    @classmethod
    def of(cls, upload_id: object, state: str, failure_reason: str) -> UploadEnded:
        """Of an upload in this state; failure_reason: empty unless it has failed."""
        because = f": {failure_reason}" if failure_reason else ""
        return cls(upload_id=upload_id, state=state, because=because)


class UploadOffsetAhead(
    SoriError,
    code=StatusCode.OUT_OF_RANGE,
    english="{committed_size} bytes are here, so none can come from {offset} on. Go on at"
    " {committed_size}.",
    korean="업로드를 이어갈 위치가 맞지 않습니다. 앱이 이어서 업로드하게 해 주세요.",
    http_status=409,
):
    """A write would leave a gap; metadata: offset, committed_size."""


class UploadOffsetBehind(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="{committed_size} bytes are here already, those from {offset} on are not taken again."
    " Go on at {committed_size}.",
    korean="업로드를 이어갈 위치가 맞지 않습니다. 앱이 이어서 업로드하게 해 주세요.",
    http_status=409,
):
    """A write begins at bytes that are here; metadata: offset, committed_size."""


class UploadIncomplete(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The upload {upload_id} is not whole. Finish it first.",
    korean="아직 끝나지 않은 업로드입니다. 이어서 업로드해 주세요.",
    http_status=409,
):
    """A piece that is not whole was to become part of a recording; metadata: upload_id."""


class UploadIdle(
    SoriError,
    code=StatusCode.DEADLINE_EXCEEDED,
    english="Nothing came for {seconds} s. Go on where the upload stopped.",
    korean="업로드가 멈췄습니다. 연결을 확인하고 이어서 업로드해 주세요.",
    http_status=408,
):
    """An upload was cut because nothing came; metadata: seconds."""


class ChunkChecksumMismatch(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="The {algorithm} of the bytes that came is not the declared. Send them again.",
    korean="파일이 전송 중에 손상되었습니다. 다시 보내 주세요.",
    http_status=460,
):
    """Bytes of one write differ from their checksum; metadata: algorithm."""


class UploadIsFinal(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="The upload {upload_id} is put together of others and takes no bytes.",
    korean="이 업로드에는 내용을 더할 수 없습니다.",
    http_status=403,
):
    """Bytes came for an upload that is put together of others; metadata: upload_id."""


class TusVersionUnsupported(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    english="Send the header Tus-Resumable: {version}; no other version is spoken.",
    korean="업로드 프로그램의 버전이 맞지 않습니다. 앱을 업데이트해 주세요.",
    http_status=412,
):
    """A request of tus without this version; metadata: version."""


class UnsupportedMediaType(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="Send the bytes as {content_type}.",
    korean="요청 형식이 맞지 않습니다. 앱을 업데이트해 주세요.",
    http_status=415,
):
    """A body is of another media type; metadata: content_type."""


class EmptyRecording(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="The recording is empty. Record again and upload a file with sound.",
    korean="빈 파일입니다. 다시 녹음해서 업로드해 주세요.",
):
    """Not one byte of audio came."""


class IncompleteUpload(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="The upload was cut short, nothing of it was kept. Upload the whole file again.",
    korean="업로드가 중간에 끊겼습니다. 처음부터 다시 업로드해 주세요.",
):
    """The stream ended without stating that it is whole."""


class RecordingTooLarge(
    SoriError,
    code=StatusCode.OUT_OF_RANGE,
    english="The recording is larger than {limit_bytes} bytes. Upload a shorter one.",
    korean="파일이 너무 큽니다(최대 {limit_bytes}바이트). 더 짧게 녹음해 주세요.",
    http_status=413,
):
    """The size limit is passed; metadata: limit_bytes."""


class UnsupportedAudio(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="The file is no audio that can be analysed. Upload one of: {supported}.",
    korean="지원하지 않는 파일입니다. 다음 형식의 녹음을 올려 주세요: {supported}.",
    http_status=415,
):
    """The first bytes are of no supported container; metadata: supported."""


class UnsupportedAsset(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="A {kind} is a JSON object or list. Upload one.",
    korean="{kind} 파일은 JSON이어야 합니다.",
    http_status=415,
):
    """A pitch or alignment that does not begin as JSON; metadata: kind."""


class SizeMismatch(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="{received_bytes} bytes arrived but {declared_bytes} were declared. Upload again.",
    korean="받은 파일의 크기가 다릅니다. 다시 업로드해 주세요.",
):
    """The declared size is not what arrived; metadata: received_bytes, declared_bytes."""


class ChecksumMismatch(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    english="The SHA-256 of what arrived is {received_sha256}, not the declared. Upload again.",
    korean="파일이 전송 중에 손상되었습니다. 다시 업로드해 주세요.",
):
    """The declared SHA-256 is not that of what arrived; metadata: received_sha256."""


class SignatureMissing(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    english="The webhook needs a signature. Call the webhook_url unchanged, with its query.",
    korean="웹훅 서명이 없습니다. 받은 webhook_url을 그대로 호출해 주세요.",
):
    """The webhook was called without a signature."""


class SignatureInvalid(
    SoriError,
    code=StatusCode.PERMISSION_DENIED,
    english="The signature is not this job's. Call the webhook_url unchanged, with its query.",
    korean="웹훅 서명이 맞지 않습니다. 받은 webhook_url을 그대로 호출해 주세요.",
):
    """The webhook was called with a signature that is not this job's."""


class DatabaseUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    english="The database does not answer. Try again in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
):
    """PostgreSQL does not answer."""


class StorageUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    english="The object store does not answer. Upload again in a few seconds.",
    korean="저장소를 잠시 이용할 수 없습니다. 잠시 후 다시 업로드해 주세요.",
):
    """S3 does not answer."""


class CatalogUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    english="The catalog does not answer. Try again in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
):
    """The catalog service does not answer."""


class AnalysisUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    english="The analysis service does not answer. Upload again in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 업로드해 주세요.",
):
    """The analysis service does not answer."""


class ShuttingDown(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    english="This server is shutting down. Call again: another one goes on.",
    korean="서버가 재시작됩니다. 다시 연결해 주세요.",
):
    """The server was told to stop."""


class InternalError(
    SoriError,
    code=StatusCode.INTERNAL,
    english="Something went wrong on our side. Report the request id {request_id}.",
    korean="서버에 문제가 생겼습니다. 문의할 때 요청 번호를 알려 주세요: {request_id}",
):
    """Anything unexpected; metadata: request_id, which finds the trace in the log."""


def status_details(error: SoriError, language: Language) -> status_pb2.Status:
    """The error as `google.rpc.Status`."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
        error_details_pb2.LocalizedMessage(locale=language, message=error.sentence(language)),
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
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.code.name), message=str(error), details=map(_pack, details)
    )


def _pack(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed

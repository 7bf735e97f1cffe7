"""Errors of uploads.

The learner's texts of an error are also those of the job that fails because of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from grpc import StatusCode

from services.runtime.errors import SoriError
from services.runtime.language import LearnerMessage


@dataclass(frozen=True)
class UploadFailure:
    """Why an upload has no result. reason: UPPER_SNAKE_CASE; learner_message: what to do."""

    reason: str
    learner_message: LearnerMessage

    @classmethod
    def of(cls, error: SoriError) -> UploadFailure:
        """The failure that an error causes."""
        return cls(error.reason, error.learner_message)


UPLOAD_EXPIRED = UploadFailure(
    "UPLOAD_EXPIRED",
    LearnerMessage(
        "업로드가 끝나지 않은 채 기한이 지났습니다. 다시 업로드해 주세요.",
        "The upload was not finished in time. Upload the recording again.",
    ),
)
UPLOAD_TIMED_OUT = UploadFailure(
    "UPLOAD_TIMED_OUT",
    LearnerMessage(
        "업로드가 제시간에 끝나지 않았습니다. 다시 업로드해 주세요.",
        "The upload did not finish in time. Upload the recording again.",
    ),
)
UPLOAD_CANCELLED = UploadFailure(
    "UPLOAD_CANCELLED",
    LearnerMessage("업로드가 취소되었습니다.", "The upload was cancelled."),
)


class CatalogUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="The catalog does not respond. Retry in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is temporarily unavailable. Try again in a few seconds.",
):
    """The catalog service does not respond."""


class AccountsUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="The accounts service does not respond. Retry in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is temporarily unavailable. Try again in a few seconds.",
):
    """The accounts service does not respond."""


# The file.


class EmptyRecording(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The recording is empty. Upload a file with sound.",
    korean="빈 파일입니다. 다시 녹음해서 업로드해 주세요.",
    english="The recording is empty. Record again and upload it.",
):
    """The upload has no bytes."""


class UnsupportedAudio(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="This audio format is not supported. Upload one of: {supported}.",
    korean="지원하지 않는 파일입니다. 다음 형식의 녹음을 올려 주세요: {supported}.",
    english="This audio format is not supported. Upload one of: {supported}.",
    http_status=415,
):
    """The first bytes belong to no supported container; metadata: supported."""


class UnsupportedAsset(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="A {kind} must be a JSON object or array.",
    korean="{kind} 파일은 JSON이어야 합니다.",
    english="A {kind} must be a JSON file.",
    http_status=415,
):
    """A pitch or alignment does not start as JSON; metadata: kind."""


class RecordingTooLong(
    SoriError,
    code=StatusCode.OUT_OF_RANGE,
    developer="The recording is {seconds} s long; the limit is {limit_seconds} s. Upload a"
    " shorter one.",
    korean="녹음이 너무 깁니다(최대 {limit_seconds}초). 대사만 녹음해 주세요.",
    english="The recording is too long (at most {limit_seconds} seconds). Record only the line.",
    http_status=413,
):
    """The file states a duration over the limit; metadata: seconds, limit_seconds."""


class RecordingTooLarge(
    SoriError,
    code=StatusCode.OUT_OF_RANGE,
    developer="The recording exceeds {limit_bytes} bytes. Upload a shorter one.",
    korean="파일이 너무 큽니다(최대 {limit_bytes}바이트). 더 짧게 녹음해 주세요.",
    english="The file is too large (at most {limit_bytes} bytes). Record a shorter take.",
    http_status=413,
):
    """The size exceeds the limit; metadata: limit_bytes."""


class EmptyPicture(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The picture is empty. Upload a PNG, JPEG or WebP file.",
    korean="빈 파일입니다. 다른 사진을 올려 주세요.",
    english="The file is empty. Upload another picture.",
):
    """The upload of a picture has no bytes."""


class UnsupportedPicture(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="This file is not a supported picture. Upload a PNG, JPEG or WebP file.",
    korean="지원하지 않는 파일입니다. PNG, JPEG, WebP 형식의 사진을 올려 주세요.",
    english="This file is not supported. Upload a PNG, JPEG or WebP picture.",
    http_status=415,
):
    """The first bytes belong to no supported format of pictures."""


class PictureTooLarge(
    SoriError,
    code=StatusCode.OUT_OF_RANGE,
    developer="The picture exceeds {limit_bytes} bytes. Upload a smaller one.",
    korean="사진이 너무 큽니다(최대 {limit_bytes}바이트). 더 작은 사진을 올려 주세요.",
    english="The picture is too large (at most {limit_bytes} bytes). Upload a smaller one.",
    http_status=413,
):
    """The size of a picture exceeds the limit; metadata: limit_bytes."""


class SizeMismatch(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="{received_bytes} bytes arrived but {declared_bytes} were declared. Upload again.",
    korean="받은 파일의 크기가 다릅니다. 다시 업로드해 주세요.",
    english="The file arrived with a different size. Upload it again.",
):
    """The declared size differs from the received one; metadata: received_bytes, declared_bytes."""

    def __init__(self, received_bytes: int, declared_bytes: int) -> None:
        super().__init__(received_bytes=received_bytes, declared_bytes=declared_bytes)
        self.is_surplus = received_bytes > declared_bytes


class ChecksumMismatch(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The received bytes have the SHA-256 {received_sha256}, which differs from the"
    " declared one. Upload again.",
    korean="파일이 전송 중에 손상되었습니다. 다시 업로드해 주세요.",
    english="The file was damaged in transit. Upload it again.",
):
    """The declared SHA-256 differs from the received one; metadata: received_sha256."""


# The upload.


class IncompleteUpload(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The upload was cut short and nothing was kept. Upload the whole file again.",
    korean="업로드가 중간에 끊겼습니다. 처음부터 다시 업로드해 주세요.",
    english="The upload was interrupted. Upload the file again.",
):
    """The stream ended without stating that it is complete."""


class UploadNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    developer="Upload {upload_id} does not exist. Create one first.",
    korean="해당 업로드가 없습니다. 처음부터 다시 업로드해 주세요.",
    english="This upload does not exist. Upload the recording again from the start.",
):
    """The upload does not exist; metadata: upload_id."""


class UploadEnded(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Upload {upload_id} is {state}{because}. Create a new one.",
    korean="이미 끝난 업로드입니다. 처음부터 다시 업로드해 주세요.",
    english="This upload has already ended. Upload the recording again from the start.",
    http_status=410,
):
    """An upload that has ended accepts no more bytes; metadata: upload_id, state, because."""

    @classmethod
    def of(cls, upload_id: object, state: str, failure_reason: str) -> UploadEnded:
        """The error for an upload in this state; failure_reason: empty unless it failed."""
        because = f": {failure_reason}" if failure_reason else ""
        return cls(upload_id=upload_id, state=state, because=because)


class UploadSuperseded(
    SoriError,
    code=StatusCode.ABORTED,
    developer="A newer connection continues this upload. Stop sending on this one.",
    korean="다른 연결에서 업로드를 이어받아 이 연결은 중단되었습니다.",
    english="Another connection continues this upload, so this one stopped.",
):
    """A newer connection became the writer of this upload."""


class UploadLost(
    SoriError,
    code=StatusCode.DATA_LOSS,
    developer="The object store lost the uploaded bytes. Upload again from the start.",
    korean="업로드한 내용이 사라졌습니다. 처음부터 다시 업로드해 주세요.",
    english="The uploaded recording was lost. Upload it again from the start.",
    http_status=410,
):
    """S3 lost or changed bytes that it had confirmed."""


class UploadOffsetAhead(
    SoriError,
    code=StatusCode.OUT_OF_RANGE,
    developer="Offset {offset} is beyond the {committed_size} bytes received. Resume at"
    " {committed_size}.",
    korean="업로드를 이어갈 위치가 맞지 않습니다. 앱에서 이어서 업로드해 주세요.",
    english="The upload cannot resume at this position. Resume it in the app.",
    http_status=409,
):
    """A write would leave a gap; metadata: offset, committed_size."""


class UploadOffsetBehind(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Offset {offset} is before the {committed_size} bytes already received. Resume at"
    " {committed_size}.",
    korean="업로드를 이어갈 위치가 맞지 않습니다. 앱에서 이어서 업로드해 주세요.",
    english="The upload cannot resume at this position. Resume it in the app.",
    http_status=409,
):
    """A write starts at bytes that were received before; metadata: offset, committed_size."""


class UploadIncomplete(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Upload {upload_id} is not complete. Finish it first.",
    korean="아직 끝나지 않은 업로드입니다. 이어서 업로드해 주세요.",
    english="This upload is not complete. Resume it first.",
    http_status=409,
):
    """A partial upload is not complete and cannot be concatenated; metadata: upload_id."""


class UploadIdle(
    SoriError,
    code=StatusCode.DEADLINE_EXCEEDED,
    developer="Nothing came for {seconds} s. Resume the upload where it stopped.",
    korean="업로드가 멈췄습니다. 연결을 확인하고 이어서 업로드해 주세요.",
    english="The upload stalled. Check the connection and resume.",
    http_status=408,
):
    """The server cut an upload that sent nothing; metadata: seconds."""


class ChunkChecksumMismatch(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The {algorithm} of the received bytes differs from the declared one. Send them"
    " again.",
    korean="파일이 전송 중에 손상되었습니다. 다시 보내 주세요.",
    english="The file was damaged in transit. Send it again.",
    http_status=460,
):
    """The bytes of one write do not match their checksum; metadata: algorithm."""


# Limits per client.


class TooManyOpenUploads(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer="This client has {limit} uploads open, which is the limit. Complete or cancel some,"
    " or retry in {seconds} s.",
    korean="진행 중인 업로드가 너무 많습니다. 잠시 후 다시 시도해 주세요.",
    english="Too many uploads are under way. Try again in a moment.",
):
    """A client has too many uploads open; metadata: limit, seconds."""

    def __init__(self, limit: int, seconds: int) -> None:
        super().__init__(limit=limit, seconds=seconds)
        self.retry_seconds = seconds


class DailyBytesExceeded(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer="This client may send {limit_bytes} bytes a day (UTC). Continue in {seconds} s.",
    korean="오늘 올릴 수 있는 용량을 모두 사용했습니다. 내일 다시 시도해 주세요.",
    english="The upload limit for today is reached. Try again tomorrow.",
):
    """A client has sent too many bytes today; metadata: limit_bytes, seconds."""

    def __init__(self, limit_bytes: int, seconds: int) -> None:
        super().__init__(limit_bytes=limit_bytes, seconds=seconds)
        self.retry_seconds = seconds


# tus.


class UploadIsFinal(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Upload {upload_id} is a concatenation of other uploads and accepts no bytes.",
    korean="이 업로드에는 내용을 더할 수 없습니다.",
    english="Nothing can be added to this upload.",
    http_status=403,
):
    """Bytes arrived for a concatenation of other uploads; metadata: upload_id."""


class TusVersionUnsupported(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Send the header Tus-Resumable: {version}. No other version is supported.",
    korean="업로드 프로그램의 버전이 맞지 않습니다. 앱을 업데이트해 주세요.",
    english="This version of the upload client is not supported. Update the app.",
    http_status=412,
):
    """A tus request without a supported version; metadata: version."""


class UnsupportedMediaType(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="Send the bytes with the content type {content_type}.",
    korean="요청 형식이 맞지 않습니다. 앱을 업데이트해 주세요.",
    english="The request has the wrong format. Update the app.",
    http_status=415,
):
    """A body has another media type; metadata: content_type."""

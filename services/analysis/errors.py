"""Errors of analyses."""

from __future__ import annotations

from grpc import StatusCode

from services.runtime.errors import SoriError


class JobNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    developer="Job {job_id} does not exist. Use the job_id that the upload returned.",
    korean="해당 분석 작업이 없습니다. 업로드할 때 받은 job_id를 확인해 주세요.",
    english="This analysis does not exist. Check the job_id that the upload returned.",
):
    """The analysis job does not exist; metadata: job_id."""


class AnalysisEnded(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Analysis {job_id} has already {status}. It cannot be cancelled.",
    korean="이미 끝난 분석이라 취소할 수 없습니다.",
    english="This analysis has already ended and cannot be cancelled.",
):
    """A caller tried to cancel an analysis that has ended; metadata: job_id, status."""


class AnalysisNotFailed(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Analysis {job_id} is {status}. Only a failed analysis can be retried.",
    korean="실패한 분석만 다시 시도할 수 있습니다.",
    english="Only a failed analysis can be retried.",
):
    """A caller tried to retry an analysis that has not failed; metadata: job_id, status."""


class RecordingMissing(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="The recording of {job_id} was never completely uploaded. Upload it again.",
    korean="업로드가 끝나지 않은 녹음입니다. 다시 업로드해 주세요.",
    english="The recording was never completely uploaded. Upload it again.",
):
    """A caller tried to retry an analysis that has no recording; metadata: job_id."""


class SignatureMissing(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    developer="The webhook call has no signature. Call webhook_url unchanged, with its query.",
    korean="웹훅 서명이 없습니다. 받은 webhook_url을 그대로 호출해 주세요.",
    english="The webhook call has no signature. Call the given webhook_url unchanged.",
):
    """The webhook call has no signature."""


class SignatureInvalid(
    SoriError,
    code=StatusCode.PERMISSION_DENIED,
    developer="The signature does not match this job. Call webhook_url unchanged, with its query.",
    korean="웹훅 서명이 맞지 않습니다. 받은 webhook_url을 그대로 호출해 주세요.",
    english="The signature does not match this job. Call the given webhook_url unchanged.",
):
    """The webhook call has a signature that does not match the job."""


class ReportMalformed(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="The body is not a JSON object: {problem}.",
    korean="요청 본문이 올바른 JSON 객체가 아닙니다. 형식을 확인해 주세요.",
    english="The body of the request is not a JSON object. Check its format.",
):
    """The body of a webhook call is not a JSON object; metadata: problem."""


class ReportTooLarge(
    SoriError,
    code=StatusCode.OUT_OF_RANGE,
    developer="The report exceeds {limit_bytes} bytes. Send a smaller result.",
    korean="분석 결과가 너무 큽니다(최대 {limit_bytes}바이트). 더 작은 결과를 보내 주세요.",
    english="The report is too large (at most {limit_bytes} bytes). Send a smaller result.",
    http_status=413,
):
    """A report exceeds ANALYSIS_REPORT_BYTES; metadata: limit_bytes."""


class ResultUnreadable(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="Clients could not read this result back: {problem} ({path}).",
    korean="읽을 수 없는 값이 들어 있는 분석 결과입니다. 값을 고쳐 다시 보내 주세요.",
    english="The result has a value that clients cannot read. Correct it and send it again.",
):
    """A result cannot be read back once it is stored; metadata: problem, path."""

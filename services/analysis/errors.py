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


class TooManyWatches(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer="This client already watches {limit} analyses. Close a watch, then try again.",
    korean="동시에 확인할 수 있는 분석 수를 넘었습니다. 잠시 후 다시 시도해 주세요.",
    english="Too many analyses are watched at the same time. Try again in a moment.",
):
    """A client has more watches than MAX_WATCHES_PER_CLIENT; metadata: limit."""

"""Converters between the protobuf messages of analyses and their domain objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from services.analysis.jobs import (
    RESULT_UNREADABLE,
    Analysis,
    Attempt,
    Job,
    Recording,
    State,
)
from services.analysis.learner_messages import learner_message_of
from services.analysis.reports import MAX_SENTENCE_LENGTH, Failure, Progress, Report
from services.analysis.store import Filter, Submission, Transition
from services.analysis.stored_results import readable_result
from services.runtime.callers import MAX_OWNER_ID_LENGTH, is_guest
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.language import Language
from services.runtime.paging import position_of
from services.runtime.times import timestamp_of
from sori.analysis.v1 import analysis_pb2 as pb

STATUSES = ("processing", "completed", "failed", "cancelled")
MAX_JOB_IDS = 1000
MAX_REQUEST_ID_LENGTH = 128
MAX_FILE_NAME_LENGTH = 255
MAX_CONTENT_TYPE_LENGTH = 255
MAX_OBJECT_KEY_LENGTH = 1024
"""The limit of S3."""
SHA256_BYTES = 32
UUID_VERSION = 7
MAX_LEARNER_MESSAGES = 10
MAX_LANGUAGE_LENGTH = 35
"""RFC 5646, 4.4.1: longer language tags are invalid in practice."""


def job_id_from(text: str) -> UUID:
    """Parse a job id. Errors: InvalidField."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidField(FieldViolation("job_id", "must be a UUID")) from None


def job_ids_from(request: pb.BatchCheckJobsRequest) -> list[UUID]:
    """Parse the ids of jobs. Errors: InvalidField."""
    if len(request.job_ids) > MAX_JOB_IDS:
        raise InvalidField(FieldViolation("job_ids", f"must have at most {MAX_JOB_IDS} entries"))
    try:
        return list(map(UUID, request.job_ids))
    except ValueError:
        raise InvalidField(FieldViolation("job_ids", "must be UUIDs")) from None


def token_id_from(token_id: int) -> int:
    """Check the id of a token. Errors: InvalidField."""
    if token_id < 1:
        raise InvalidField(FieldViolation("token_id", "must be 1 or more"))
    return token_id


def owner_id_from(owner_id: str) -> str | None:
    """The id of an account or a guest; None without one. Errors: InvalidField."""
    if problem := _text_problem(owner_id, MAX_OWNER_ID_LENGTH, minimum=0):
        raise InvalidField(FieldViolation("owner_id", problem))
    return owner_id or None


def required_owner_id_from(
    owner_id: str, field: str = "owner_id", *, guest: bool | None = None
) -> str:
    """The id of an owner. guest: whether it must be that of a guest, or of an account.

    Errors: InvalidField.
    """
    problem = _text_problem(owner_id, MAX_OWNER_ID_LENGTH)
    if not problem and guest not in (None, is_guest(owner_id)):
        problem = f"must be the id of {'a guest' if guest else 'an account'}"
    if problem:
        raise InvalidField(FieldViolation(field, problem))
    return owner_id


def request_id_from(request_id: str) -> str | None:
    """The client's name for its request; None without one. Errors: InvalidField."""
    if len(request_id) > MAX_REQUEST_ID_LENGTH or not request_id.isprintable():
        problem = f"must have at most {MAX_REQUEST_ID_LENGTH} printable characters"
        raise InvalidField(FieldViolation("request_id", problem))
    return request_id or None


def recording_from(message: pb.Recording) -> Recording:
    """The recording to attach to a job. Errors: InvalidField."""
    problems = {
        "object_key": _text_problem(message.object_key, MAX_OBJECT_KEY_LENGTH),
        "size": "" if message.size > 0 else "must be 1 or more",
        "content_type": _text_problem(message.content_type, MAX_CONTENT_TYPE_LENGTH),
        "sha256": "" if len(message.sha256) == SHA256_BYTES else f"must have {SHA256_BYTES} bytes",
        "file_name": _text_problem(message.file_name, MAX_FILE_NAME_LENGTH, minimum=0),
    }
    for field, problem in problems.items():
        if problem:
            raise InvalidField(FieldViolation(f"recording.{field}", problem))
    return Recording(
        object_key=message.object_key,
        size=message.size,
        content_type=message.content_type,
        sha256=message.sha256,
        file_name=message.file_name,
    )


def submission_from(request: pb.SubmitRecordingRequest) -> Submission:
    """The job to create with its recording. Errors: InvalidField."""
    job_id = job_id_from(request.job_id)
    if job_id.version != UUID_VERSION:
        raise InvalidField(FieldViolation("job_id", f"must be a UUIDv{UUID_VERSION}"))
    if request.token_revision < 0:
        raise InvalidField(FieldViolation("token_revision", "must be 0 or more"))
    return Submission(
        job_id=job_id,
        token_id=token_id_from(request.token_id),
        recording=recording_from(request.recording),
        token_revision=request.token_revision,
        request_id=request_id_from(request.request_id),
        owner_id=owner_id_from(request.owner_id),
    )


def _text_problem(text: str, maximum: int, minimum: int = 1) -> str:
    """What is wrong with the length or the characters of a text; empty if nothing is."""
    if minimum <= len(text) <= maximum and "\0" not in text:
        return ""
    return f"must have {minimum} to {maximum} characters and no NUL"


def learner_messages_from(messages: Mapping[str, str]) -> dict[str, str]:
    """The sentences of a failed upload by language. Errors: InvalidField."""
    problem = ""
    if len(messages) > MAX_LEARNER_MESSAGES:
        problem = f"must have at most {MAX_LEARNER_MESSAGES} entries"
    elif any(not 0 < len(language) <= MAX_LANGUAGE_LENGTH for language in messages):
        problem = f"must have keys of 1 to {MAX_LANGUAGE_LENGTH} characters"
    elif any(not 0 < len(text) <= MAX_SENTENCE_LENGTH for text in messages.values()):
        problem = f"must have values of 1 to {MAX_SENTENCE_LENGTH} characters"
    elif any("\0" in text for text in (*messages, *messages.values())):
        problem = "must not contain NUL"
    if problem:
        raise InvalidField(FieldViolation("learner_messages", problem))
    return dict(messages)


def filter_from(request: pb.ListAnalysesRequest) -> Filter:
    """The filter of a list. Errors: InvalidField."""
    if request.token_id < 0:
        raise InvalidField(FieldViolation("token_id", "must be 1 or more"))
    if request.status and request.status not in STATUSES:
        raise InvalidField(FieldViolation("status", f"must be one of {', '.join(STATUSES)}"))
    return Filter(
        token_id=request.token_id or None,
        owner_id=owner_id_from(request.owner_id),
        status=request.status or None,
        created_from=_time_from(request, "created_from"),
        created_before=_time_from(request, "created_before"),
    )


def position_from(request: pb.ListAnalysesRequest) -> tuple[datetime, UUID] | None:
    """The analysis that a page starts after; None for the first page. Errors: InvalidField."""
    position = position_of(request)
    if position is None:
        return None
    try:
        create_time, job_id = map(str, position)
        return datetime.fromisoformat(create_time).astimezone(UTC), UUID(job_id)
    except (ValueError, TypeError, OverflowError):
        # The checksum of a page token is not a secret, so a client can forge one.
        problem = "must be the next_page_token of a call with the same other fields"
        raise InvalidField(FieldViolation("page_token", problem)) from None


def result_to(job: Job, language: Language) -> pb.AnalysisResult:
    """The answer of GetAnalysisResult."""
    job, result = _read(job)
    return pb.AnalysisResult(
        status=_status_to(job),
        token_id=str(job.token_id),
        progress=job.progress,
        result=result,
        message=learner_message_of(job, language),
        failure_reason=job.failure_reason,
    )


def progress_to(job: Job, language: Language) -> pb.AnalysisProgress:
    """A message of WatchAnalysis."""
    job, result = _read(job)
    return pb.AnalysisProgress(
        status=_status_to(job),
        progress=job.progress,
        message=learner_message_of(job, language),
        result=result,
        failure_reason=job.failure_reason,
    )


def analysis_to(analysis: Analysis, language: Language) -> pb.Analysis:
    """An analysis as a resource."""
    job, result = _read(analysis.job)
    return pb.Analysis(
        job_id=str(job.job_id),
        token_id=job.token_id,
        status=job.status,
        state=pb.AnalysisState.Value(f"ANALYSIS_STATE_{job.state.name}"),
        progress=job.progress,
        message=learner_message_of(job, language),
        result=result,
        failure_reason=job.failure_reason,
        recording=_recording_to(analysis.recording),
        token_revision=analysis.token_revision,
        analyzer_version=analysis.analyzer_version,
        reused=analysis.reused_job_id is not None,
        reused_job_id=_job_id_to(analysis.reused_job_id),
        retried_job_id=_job_id_to(analysis.retried_job_id),
        create_time=timestamp_of(analysis.create_time),
        update_time=timestamp_of(analysis.update_time),
        end_time=None if analysis.end_time is None else timestamp_of(analysis.end_time),
        attempts=map(_attempt_to, analysis.attempts),
        owner_id=_account_to(job.owner_id),
    )


def effect_of(report: Report, transition: Transition) -> pb.ReportEffect.ValueType:
    """The effect of a report on its job."""
    if transition.applied:
        is_late = transition.before is State.FAILED
        return pb.REPORT_EFFECT_APPLIED_LATE if is_late else pb.REPORT_EFFECT_APPLIED
    same_end = State.FAILED if isinstance(report, Failure) else State.COMPLETED
    is_repeat = transition.before is same_end and not isinstance(report, Progress)
    return pb.REPORT_EFFECT_REPEATED if is_repeat else pb.REPORT_EFFECT_IGNORED


def _status_to(job: Job) -> str:
    """The status in the calls under /tokens, whose clients know no "cancelled"."""
    return str(State.FAILED) if job.state is State.CANCELLED else job.status


def _recording_to(recording: Recording | None) -> pb.RecordingInfo | None:
    if recording is None:
        return None
    return pb.RecordingInfo(
        size=recording.size,
        content_type=recording.content_type,
        sha256=recording.sha256.hex(),
        file_name=recording.file_name,
    )


def _attempt_to(attempt: Attempt) -> pb.DispatchAttempt:
    return pb.DispatchAttempt(
        number=attempt.number,
        start_time=timestamp_of(attempt.start_time),
        end_time=timestamp_of(attempt.end_time),
        worker=attempt.worker,
        outcome=pb.AttemptOutcome.Value(f"ATTEMPT_OUTCOME_{attempt.outcome.name}"),
        error=attempt.error,
    )


def _read(job: Job) -> tuple[Job, Struct | None]:
    """The job and its result. A job whose result no client can read appears as failed."""
    if job.result is None:
        return job, None
    result = readable_result(job.result)
    if result is None:
        job = replace(job, state=State.FAILED, failure_reason=RESULT_UNREADABLE, result=None)
    return job, result


def _account_to(owner_id: str | None) -> str:
    """The id of an account. That of a guest says nothing to clients."""
    return "" if owner_id is None or is_guest(owner_id) else owner_id


def _job_id_to(job_id: UUID | None) -> str:
    return "" if job_id is None else str(job_id)


def _time_from(request: pb.ListAnalysesRequest, field: str) -> datetime | None:
    if not request.HasField(field):  # type: ignore[arg-type]
        return None
    timestamp: Timestamp = getattr(request, field)
    try:
        return timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidField(FieldViolation(field, "must be a valid time")) from None

"""Between the protobuf messages of analyses and its domain."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from services.analysis.jobs import Analysis, Attempt, Job, Recording, State
from services.analysis.learner_messages import sentence_of
from services.analysis.reports import Failure, Progress, Report
from services.analysis.store import Filter, Transition
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.language import Language
from services.runtime.paging import position_of
from services.runtime.times import timestamp_of
from sori.analysis.v1 import analysis_pb2 as pb

STATUSES = ("processing", "completed", "failed", "cancelled")


def job_id_from(text: str) -> UUID:
    """Errors: InvalidField."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidField(FieldViolation("job_id", "must be a UUID")) from None


def recording_from(message: pb.Recording) -> Recording:
    """A recording to attach."""
    return Recording(
        object_key=message.object_key,
        size=message.size,
        content_type=message.content_type,
        sha256=message.sha256,
        file_name=message.file_name,
    )


def filter_from(request: pb.ListAnalysesRequest) -> Filter:
    """Errors: InvalidField."""
    if request.token_id < 0:
        raise InvalidField(FieldViolation("token_id", "must be 1 or more"))
    if request.status and request.status not in STATUSES:
        raise InvalidField(FieldViolation("status", f"must be one of {', '.join(STATUSES)}"))
    return Filter(
        token_id=request.token_id or None,
        status=request.status or None,
        created_from=_time(request, "created_from"),
        created_before=_time(request, "created_before"),
    )


def position_from(request: pb.ListAnalysesRequest) -> tuple[datetime, UUID] | None:
    """After which analysis a page begins; None for the first page. Errors: InvalidField."""
    position = position_of(request)
    if position is None:
        return None
    try:
        create_time, job_id = map(str, position)
        return datetime.fromisoformat(create_time).astimezone(UTC), UUID(job_id)
    except (ValueError, TypeError, OverflowError):
        # The token's checksum is no secret, so it may be forged.
        problem = "must be the next_page_token of a call with the same other fields"
        raise InvalidField(FieldViolation("page_token", problem)) from None


def result_to(job: Job, language: Language) -> pb.AnalysisResult:
    """A job as the result call tells it."""
    return pb.AnalysisResult(
        status=_status_of_clients(job),
        token_id=str(job.token_id),
        progress=job.progress,
        result=_result(job),
        message=sentence_of(job, language),
        failure_reason=job.failure_reason,
    )


def progress_to(job: Job, language: Language) -> pb.AnalysisProgress:
    """A job as watchers are told of it."""
    return pb.AnalysisProgress(
        status=_status_of_clients(job),
        progress=job.progress,
        message=sentence_of(job, language),
        result=_result(job),
        failure_reason=job.failure_reason,
    )


def analysis_to(analysis: Analysis, language: Language) -> pb.Analysis:
    """A job as a resource."""
    job = analysis.job
    return pb.Analysis(
        job_id=str(job.job_id),
        token_id=job.token_id,
        status=job.status,
        state=pb.AnalysisState.Value(f"ANALYSIS_STATE_{job.state.name}"),
        progress=job.progress,
        message=sentence_of(job, language),
        result=_result(job),
        failure_reason=job.failure_reason,
        recording=_recording_to(analysis.recording),
        token_revision=analysis.token_revision,
        analyzer_version=analysis.analyzer_version,
        reused=analysis.reused_job_id is not None,
        reused_job_id=_id_to(analysis.reused_job_id),
        retried_job_id=_id_to(analysis.retried_job_id),
        create_time=timestamp_of(analysis.create_time),
        update_time=timestamp_of(analysis.update_time),
        end_time=None if analysis.end_time is None else timestamp_of(analysis.end_time),
        attempts=map(_attempt_to, analysis.attempts),
    )


def effect_of(report: Report, transition: Transition) -> pb.ReportEffect.ValueType:
    """What a report has done to its job."""
    if transition.applied:
        late = transition.before is State.FAILED
        return pb.REPORT_EFFECT_APPLIED_LATE if late else pb.REPORT_EFFECT_APPLIED
    same_end = State.FAILED if isinstance(report, Failure) else State.COMPLETED
    repeated = transition.before is same_end and not isinstance(report, Progress)
    return pb.REPORT_EFFECT_REPEATED if repeated else pb.REPORT_EFFECT_IGNORED


def _status_of_clients(job: Job) -> str:
    """A cancelled job has failed, to clients that know no other end."""
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


def _result(job: Job) -> Struct | None:
    return None if job.result is None else Struct.FromString(job.result)


def _id_to(job_id: UUID | None) -> str:
    return "" if job_id is None else str(job_id)


def _time(request: pb.ListAnalysesRequest, field: str) -> datetime | None:
    if not request.HasField(field):  # type: ignore[arg-type]
        return None
    timestamp: Timestamp = getattr(request, field)
    try:
        return timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidField(FieldViolation(field, "must be a time")) from None

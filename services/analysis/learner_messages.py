"""What a learner is told of a job, in Korean and English."""

from __future__ import annotations

from services.analysis.jobs import Job, State
from services.runtime.language import Language

_STAGES = {
    State.OPENED: ("업로드 준비 중...", "Preparing the upload..."),
    State.UPLOADING: ("S3 업로드 중...", "Uploading to S3..."),
    State.QUEUED: ("분석 서버 요청 중...", "Asking the analysis server..."),
    State.DISPATCHED: ("분석 중... 결과 대기", "Analysing... waiting for the result"),
    State.COMPLETED: ("분석 완료", "Analysis completed"),
}

_FAILURES = {
    "INCOMPLETE_UPLOAD": (
        "업로드가 중간에 끊겼습니다. 다시 업로드해 주세요.",
        "The upload was cut short. Upload the recording again.",
    ),
    "UPLOAD_TIMED_OUT": (
        "업로드가 제시간에 끝나지 않았습니다. 다시 업로드해 주세요.",
        "The upload did not finish in time. Upload the recording again.",
    ),
    "UPLOAD_EXPIRED": (
        "업로드가 끝나지 않은 채 기한이 지났습니다. 다시 업로드해 주세요.",
        "The upload was never finished. Upload the recording again.",
    ),
    "UPLOAD_CANCELLED": (
        "업로드가 취소되었습니다.",
        "The upload was cancelled.",
    ),
    "UPLOAD_LOST": (
        "업로드한 내용이 사라졌습니다. 다시 업로드해 주세요.",
        "What was uploaded was lost. Upload the recording again.",
    ),
    "RECORDING_TOO_LONG": (
        "녹음이 너무 깁니다. 대사만 녹음해 주세요.",
        "The recording is too long. Record only the line.",
    ),
    "EMPTY_RECORDING": (
        "빈 파일입니다. 다시 녹음해 주세요.",
        "The recording is empty. Record again.",
    ),
    "RECORDING_TOO_LARGE": (
        "파일이 너무 큽니다. 더 짧게 녹음해 주세요.",
        "The recording is too large. Record a shorter one.",
    ),
    "UNSUPPORTED_AUDIO": (
        "지원하지 않는 파일입니다. 다른 형식으로 녹음해 주세요.",
        "The file is no audio that can be analysed. Record in another format.",
    ),
    "SIZE_MISMATCH": (
        "파일이 전송 중에 손상되었습니다. 다시 업로드해 주세요.",
        "The recording was damaged on its way. Upload it again.",
    ),
    "CHECKSUM_MISMATCH": (
        "파일이 전송 중에 손상되었습니다. 다시 업로드해 주세요.",
        "The recording was damaged on its way. Upload it again.",
    ),
    "UNDECODABLE_AUDIO": (
        "녹음 파일을 읽을 수 없습니다. 다시 녹음해 주세요.",
        "The recording can't be decoded. Record again.",
    ),
    "EMPTY_AUDIO": (
        "녹음에 소리가 없습니다. 다시 녹음해 주세요.",
        "The recording holds no audio. Record again.",
    ),
    "SILENT_AUDIO": (
        "목소리가 들리지 않습니다. 마이크를 확인하고 다시 녹음해 주세요.",
        "No voice can be heard. Check the microphone and record again.",
    ),
    "AUDIO_TOO_LONG": (
        "녹음이 너무 깁니다. 대사만 녹음해 주세요.",
        "The recording is too long. Record only the line.",
    ),
    "AUDIO_UNAVAILABLE": (
        "녹음 파일을 불러오지 못했습니다. 다시 업로드해 주세요.",
        "The recording could not be fetched. Upload it again.",
    ),
    "REFERENCE_UNAVAILABLE": (
        "이 토큰의 기준 음성을 쓸 수 없습니다. 다른 토큰을 골라 주세요.",
        "The reference voice of this token can't be used. Choose another token.",
    ),
    "ANALYSIS_CRASHED": (
        "분석 중에 문제가 생겼습니다. 다시 업로드해 주세요.",
        "The analysis broke down. Upload the recording again.",
    ),
    "ANALYSIS_TIMED_OUT": (
        "분석 서버가 응답하지 않았습니다. 다시 업로드해 주세요.",
        "The analysis server did not report in time. Upload the recording again.",
    ),
    "ANALYSIS_SERVER_UNAVAILABLE": (
        "분석 서버에 연결할 수 없습니다. 나중에 다시 업로드해 주세요.",
        "The analysis server can't be reached. Upload the recording again later.",
    ),
    "ANALYSIS_SERVER_REFUSED": (
        "분석 서버가 요청을 거절했습니다. 나중에 다시 업로드해 주세요.",
        "The analysis server refused the job. Upload the recording again later.",
    ),
    "RESULT_TOO_LARGE": (
        "분석 결과가 너무 큽니다. 더 짧게 녹음해 주세요.",
        "The result of the analysis is too large. Record a shorter take.",
    ),
    "UPLOAD_SUPERSEDED": (
        "같은 요청의 새 업로드가 시작되었습니다.",
        "A newer upload of the same request has taken over.",
    ),
    "CANCELLED": ("분석이 취소되었습니다.", "The analysis was cancelled."),
    "TOKEN_NOT_FOUND": (
        "토큰이 삭제되었습니다. 다른 토큰을 골라 주세요.",
        "The token was deleted. Choose another one.",
    ),
}

_OTHER_FAILURE = (
    "분석에 실패했습니다. 다시 업로드해 주세요.",
    "The analysis failed. Upload the recording again.",
)


def sentence_of(job: Job, language: Language) -> str:
    """What the learner is told of the job now."""
    if job.failure_reason is None:
        return _stage_of(job, language)
    if known := _FAILURES.get(job.failure_reason or ""):
        return _in(language, known)
    return job.failure_message or _in(language, _OTHER_FAILURE)


def _stage_of(job: Job, language: Language) -> str:
    """What is being done, in the analysis server's words if it has said any."""
    if job.stage and job.state is not State.COMPLETED:
        return job.stage
    return _in(language, _STAGES[job.state])


def _in(language: Language, pair: tuple[str, str]) -> str:
    korean, english = pair
    return korean if language is Language.KOREAN else english

"""The sentence that describes a job to the learner: its stage, or why it failed.

Failed uploads bring their own sentences (`Job.failure_messages`). Here are those of the
stages, and of the failure reasons that this service or the analysis server produces.
"""

from __future__ import annotations

import re

from services.analysis.jobs import (
    ANALYSIS_SERVER_REFUSED,
    ANALYSIS_SERVER_UNAVAILABLE,
    ANALYSIS_TIMED_OUT,
    CANCELLED,
    REQUEST_SUPERSEDED,
    RESULT_TOO_LARGE,
    RESULT_UNREADABLE,
    TOKEN_NOT_FOUND,
    UPLOAD_TIMED_OUT,
    Job,
    State,
)
from services.runtime.language import Language, LearnerMessage
from services.runtime.shared_errors import RequestSuperseded

_STAGES = {
    State.OPENED: LearnerMessage("업로드 준비 중...", "Preparing the upload..."),
    State.UPLOADING: LearnerMessage("S3 업로드 중...", "Uploading to S3..."),
    State.QUEUED: LearnerMessage("분석 서버 요청 중...", "Sending to the analysis server..."),
    State.DISPATCHED: LearnerMessage("분석 중... 결과 대기", "Analysing... waiting for the result"),
    State.COMPLETED: LearnerMessage("분석 완료", "Analysis completed"),
}

_OF_THIS_SERVICE = {
    UPLOAD_TIMED_OUT: LearnerMessage(
        "업로드가 제시간에 끝나지 않았습니다. 다시 업로드해 주세요.",
        "The upload did not finish in time. Upload the recording again.",
    ),
    ANALYSIS_TIMED_OUT: LearnerMessage(
        "분석 서버가 제시간에 응답하지 않았습니다. 다시 업로드해 주세요.",
        "The analysis server did not report in time. Upload the recording again.",
    ),
    ANALYSIS_SERVER_UNAVAILABLE: LearnerMessage(
        "분석 서버에 연결할 수 없습니다. 나중에 다시 업로드해 주세요.",
        "The analysis server cannot be reached. Upload the recording again later.",
    ),
    ANALYSIS_SERVER_REFUSED: LearnerMessage(
        "분석 서버가 요청을 거절했습니다. 나중에 다시 업로드해 주세요.",
        "The analysis server refused the recording. Upload it again later.",
    ),
    RESULT_TOO_LARGE: LearnerMessage(
        "분석 결과가 너무 큽니다. 더 짧게 녹음해 주세요.",
        "The result of the analysis is too large. Record a shorter take.",
    ),
    RESULT_UNREADABLE: LearnerMessage(
        "분석 결과를 읽을 수 없습니다. 다시 업로드해 주세요.",
        "The result of the analysis cannot be read. Upload the recording again.",
    ),
    REQUEST_SUPERSEDED: RequestSuperseded.learner,
    CANCELLED: LearnerMessage("분석이 취소되었습니다.", "The analysis was cancelled."),
    TOKEN_NOT_FOUND: LearnerMessage(
        "토큰이 삭제되었습니다. 다른 토큰을 골라 주세요.",
        "The token was deleted. Choose another one.",
    ),
}

_OF_THE_ANALYSIS_SERVER = {
    "UNDECODABLE_AUDIO": LearnerMessage(
        "녹음 파일을 읽을 수 없습니다. 다시 녹음해 주세요.",
        "The recording cannot be decoded. Record again.",
    ),
    "EMPTY_AUDIO": LearnerMessage(
        "녹음에 소리가 없습니다. 다시 녹음해 주세요.",
        "The recording contains no audio. Record again.",
    ),
    "SILENT_AUDIO": LearnerMessage(
        "목소리가 들리지 않습니다. 마이크를 확인하고 다시 녹음해 주세요.",
        "No voice can be heard. Check the microphone and record again.",
    ),
    "AUDIO_TOO_LONG": LearnerMessage(
        "녹음이 너무 깁니다. 대사만 녹음해 주세요.",
        "The recording is too long. Record only the line.",
    ),
    "AUDIO_UNAVAILABLE": LearnerMessage(
        "녹음 파일을 불러오지 못했습니다. 다시 업로드해 주세요.",
        "The recording could not be loaded. Upload it again.",
    ),
    "REFERENCE_UNAVAILABLE": LearnerMessage(
        "이 토큰의 기준 음성을 쓸 수 없습니다. 다른 토큰을 골라 주세요.",
        "The reference voice of this token cannot be used. Choose another token.",
    ),
    "ANALYSIS_CRASHED": LearnerMessage(
        "분석 중에 문제가 생겼습니다. 다시 업로드해 주세요.",
        "Something went wrong during the analysis. Upload the recording again.",
    ),
    "WORKER_DIED": LearnerMessage(
        "분석할 수 없는 녹음 파일입니다. 다시 녹음해 주세요.",
        "This recording cannot be analysed. Record again.",
    ),
}

_FAILURES = _OF_THIS_SERVICE | _OF_THE_ANALYSIS_SERVER

_ANY_FAILURE = LearnerMessage(
    "분석에 실패했습니다. 다시 업로드해 주세요.",
    "The analysis failed. Upload the recording again.",
)


_REPORTED_STAGES = {
    "WAITING": LearnerMessage("분석 차례를 기다리고 있습니다.", "Waiting for the analysis..."),
    "RECORDING_FETCHED": LearnerMessage("녹음을 받았습니다.", "The recording has arrived."),
    "ANALYSING": LearnerMessage("목소리를 분석하고 있습니다.", "Analysing your voice..."),
}

# Jamo, compatibility jamo and syllables.
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")


def learner_message_of(job: Job, language: Language) -> str:
    """The sentence that describes the job now."""
    if job.failure_reason is None:
        return _stage_of(job, language)
    if of_upload := job.failure_messages.get(language):
        return of_upload
    if known := _FAILURES.get(job.failure_reason):
        return known.text(language)
    return _readable(job.failure_message, language) or _ANY_FAILURE.text(language)


def _stage_of(job: Job, language: Language) -> str:
    """The stage that the analysis server reported, or else the state."""
    state = _STAGES[job.state].text(language)
    if job.state is State.COMPLETED:
        return state
    if known := _REPORTED_STAGES.get(job.stage):
        return known.text(language)
    return _readable(job.stage, language) or state


def _readable(sentence: str, language: Language) -> str:
    """A sentence of the analysis server; empty if the learner may not be able to read it."""
    return "" if language is Language.ENGLISH and _HANGUL.search(sentence) else sentence

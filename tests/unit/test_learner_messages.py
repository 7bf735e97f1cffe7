"""The sentence that describes a job to the learner."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from services.analysis.converters import MAX_LEARNER_MESSAGES, learner_messages_from
from services.analysis.jobs import Job, State
from services.analysis.learner_messages import learner_message_of
from services.analysis.reports import STAGES
from services.analyzer.failures import Reason
from services.analyzer.progress import Stage
from services.runtime.errors import InvalidField
from services.runtime.language import Language

JOB_ID = UUID("01a20810-e3b2-705b-90e5-b52e27a5d578")
OF_UPLOAD = {"ko": "빈 파일입니다.", "en": "The recording is empty."}
STATES = [state for state in State if state not in (State.FAILED, State.CANCELLED)]
GENERAL = "The analysis failed. Upload the recording again."


def failed(reason: str, message: str = "", messages: dict[str, str] | None = None) -> Job:
    return Job(
        JOB_ID,
        1,
        State.FAILED,
        10,
        2,
        failure_reason=reason,
        failure_message=message,
        failure_messages=messages or {},
    )


@pytest.mark.parametrize(
    "state", [state for state in State if state not in ("failed", "cancelled")]
)
def test_every_stage_has_a_sentence_in_both_languages(state: State) -> None:
    job = Job(JOB_ID, 1, state, 10, 1)
    assert re.search("[가-힣]", learner_message_of(job, Language.KOREAN))
    assert learner_message_of(job, Language.ENGLISH).isascii()


def test_a_reported_stage_replaces_that_of_the_product() -> None:
    job = Job(JOB_ID, 1, State.DISPATCHED, 90, 1, stage="음높이 분석 중...")
    assert learner_message_of(job, Language.KOREAN) == "음높이 분석 중..."


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_stage_of_the_reference_analyzer_has_a_sentence_in_both_languages(
    stage: str,
) -> None:
    job = Job(JOB_ID, 1, State.DISPATCHED, 90, 1, stage=stage)
    assert re.search("[가-힣]", learner_message_of(job, Language.KOREAN))
    assert learner_message_of(job, Language.ENGLISH).isascii()
    assert learner_message_of(job, Language.ENGLISH) != stage


def test_the_reference_analyzer_reports_only_stages_that_have_sentences() -> None:
    assert {stage.name for stage in Stage} == STAGES


@pytest.mark.parametrize("reason", Reason)
def test_every_failure_of_the_reference_analyzer_has_a_sentence_in_both_languages(
    reason: Reason,
) -> None:
    korean = learner_message_of(failed(reason), Language.KOREAN)
    english = learner_message_of(failed(reason), Language.ENGLISH)
    assert re.search("[가-힣]", korean)
    assert english.isascii()
    assert english != GENERAL


def test_english_learners_get_no_korean_sentences_of_an_analysis_server() -> None:
    korean = Job(JOB_ID, 1, State.DISPATCHED, 90, 1, stage="음높이 분석 중...")
    assert learner_message_of(korean, Language.ENGLISH).startswith("Analysing...")
    english = Job(JOB_ID, 1, State.DISPATCHED, 90, 1, stage="Measuring the pitch...")
    assert learner_message_of(english, Language.ENGLISH) == "Measuring the pitch..."
    failure = failed("NO_PITCH", "음높이가 없습니다.")
    assert learner_message_of(failure, Language.ENGLISH) == GENERAL
    assert learner_message_of(failure, Language.KOREAN) == "음높이가 없습니다."


def test_a_failed_upload_has_its_own_sentence_in_the_learner_s_language() -> None:
    job = failed("EMPTY_RECORDING", messages=OF_UPLOAD)
    assert learner_message_of(job, Language.KOREAN) == OF_UPLOAD["ko"]
    assert learner_message_of(job, Language.ENGLISH) == OF_UPLOAD["en"]


def test_a_failed_upload_without_a_sentence_in_the_language_gets_the_general_one() -> None:
    job = failed("EMPTY_RECORDING", messages={"ko": OF_UPLOAD["ko"]})
    assert learner_message_of(job, Language.ENGLISH) == GENERAL


def test_a_known_reason_has_the_sentence_of_the_product() -> None:
    message = learner_message_of(failed("SILENT_AUDIO", "no voice"), Language.ENGLISH)
    assert message.startswith("No voice can be heard.")


def test_an_unknown_reason_has_the_sentence_of_the_analysis_server_or_the_general_one() -> None:
    assert learner_message_of(failed("NO_PITCH", "no pitch"), Language.ENGLISH) == "no pitch"
    assert learner_message_of(failed("NO_PITCH"), Language.ENGLISH) == GENERAL


def test_valid_messages_of_an_upload_are_accepted() -> None:
    assert learner_messages_from(OF_UPLOAD) == OF_UPLOAD
    assert learner_messages_from({}) == {}


@pytest.mark.parametrize(
    "messages",
    [
        {f"l{number}": "x" for number in range(MAX_LEARNER_MESSAGES + 1)},
        {"": "x"},
        {"x" * 36: "x"},
        {"ko": ""},
        {"ko": "x" * 1001},
        {"ko": "a\0b"},
    ],
    ids=["too many", "no language", "long language", "empty", "too long", "NUL"],
)
def test_invalid_messages_of_an_upload_are_refused(messages: dict[str, str]) -> None:
    with pytest.raises(InvalidField):
        learner_messages_from(messages)

from __future__ import annotations

import json
import math
import pickle
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.analyzer.align import Aligner
from services.analyzer.analysis import AnalysisResults, compare, read_reference, read_voice
from services.analyzer.decode import decode
from services.analyzer.failures import AnalysisFailure, Reason
from services.analyzer.request import Script
from services.analyzer.worker import AnalysisEngine
from tests.unit.analyzer.conftest import MAX_SECONDS, Analyse, ReadAudio, ScriptOf
from tests.unit.analyzer.test_decode import wav

LINES = ["0870", "0890", "0930"]
LANGUAGES = ["en", None, "ko"]


def overall(results: AnalysisResults) -> float:
    return results["overall_score"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_scores_rank_takes_by_similarity(analyse: Analyse, language: str | None) -> None:
    ranking = [
        overall(analyse("0890", take, language))
        for take in (
            "ref_0890.wav",
            "take_0890_close.webm",
            "take_0890_othervoice.m4a",
            "take_0890_wrongline.mp3",
        )
    ]
    assert ranking == sorted(ranking, reverse=True)
    assert ranking[0] > 98
    assert 75 < ranking[1] < 97
    assert ranking[2] > ranking[3] + 10
    assert ranking[3] < 35


def test_another_voice_scores_between_a_close_take_and_another_line(analyse: Analyse) -> None:
    assert 40 < overall(analyse("0890", "take_0890_othervoice.m4a")) < 80


def test_the_container_hardly_affects_the_score(analyse: Analyse) -> None:
    webm = analyse("0890", "take_0890_close.webm")
    flac = analyse("0890", "take_0890_close_48k_stereo.flac")
    assert overall(webm) == pytest.approx(overall(flac), abs=2)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("line", LINES)
def test_the_reference_matches_itself(analyse: Analyse, line: str, language: str | None) -> None:
    results = analyse(line, f"ref_{line}.wav", language)
    assert overall(results) > 98
    assert all(word["score"] > 90 for word in results["words"])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("line", "other"), list(permutations(LINES, 2)))
def test_every_other_line_scores_low(
    analyse: Analyse, line: str, other: str, language: str | None
) -> None:
    assert overall(analyse(line, f"ref_{other}.wav", language)) < 35


def test_a_faster_lower_take_scores_above_other_lines(analyse: Analyse) -> None:
    fast = analyse("0930", "take_0930_fast.ogg")
    assert overall(fast) > overall(analyse("0930", "take_0890_close.webm")) + 30
    assert fast["timing_score"] < fast["pitch_score"]


def test_words_have_their_times_in_the_take(analyse: Analyse) -> None:
    words = analyse("0890", "take_0890_close.webm")["words"]
    assert [word["text"] for word in words[:3]] == ["unless", "to", "be"]
    for word in words:
        assert word["start_time"] is not None
        assert word["start_time"] == pytest.approx(word["reference_start_time"] / 0.94, abs=0.2)


def test_words_that_were_not_spoken_have_no_times(analyse: Analyse) -> None:
    words = analyse("0890", "take_0890_wrongline.mp3")["words"]
    missing = [word for word in words if word["score"] == 0]
    assert len(missing) > len(words) / 2
    assert all(word["start_time"] is word["end_time"] is None for word in missing)


def test_results_are_small_and_finite_json(analyse: Analyse) -> None:
    results = analyse("0890", "take_0890_close.webm")
    text = json.dumps(results, allow_nan=False)
    seconds = results["duration"] + results["reference_duration"]
    assert len(text) / seconds < 2_000
    assert len(results["pitch"]["recording"]) == pytest.approx(results["duration"] * 100, abs=1)
    assert None in results["pitch"]["recording"]


def test_several_scripts_are_compared_in_order(read_audio: ReadAudio, aligner: Aligner) -> None:
    scripts = [
        Script(text="unless to be rather cold hearted", start_time=0.2, end_time=2.4),
        Script(text="and rather selfish is to be ill disposed", start_time=2.4, end_time=5.3),
    ]
    reference = read_reference(read_audio("ref_0890.wav"), scripts, MAX_SECONDS, aligner)
    close = compare(reference, read_voice(read_audio("take_0890_close.webm"), MAX_SECONDS), aligner)
    wrong = compare(
        reference, read_voice(read_audio("take_0890_wrongline.mp3"), MAX_SECONDS), aligner
    )
    assert [word["text"] for word in close["words"]] == [script.text for script in scripts]
    assert overall(close) > 75
    assert overall(wrong) < 35


def test_half_a_take_scores_the_spoken_words(
    read_audio: ReadAudio, script_of: ScriptOf, aligner: Aligner
) -> None:
    reference = read_reference(
        read_audio("ref_0890.wav"), [script_of("0890")], MAX_SECONDS, aligner
    )
    samples = decode(read_audio("take_0890_close.webm"), MAX_SECONDS)
    half = [int(sample * 32767) for sample in samples[: len(samples) // 2]]
    results = compare(reference, read_voice(wav(half), MAX_SECONDS), aligner)
    scores = [word["score"] for word in results["words"]]
    assert min(scores[:6]) > 50
    assert max(scores[9:]) == 0
    assert 25 < overall(results) < 60


@pytest.mark.parametrize("language", ["en", "ko"])
def test_noise_and_pauses_around_a_take_hardly_lower_the_score(
    read_audio: ReadAudio, script_of: ScriptOf, aligner: Aligner, language: str
) -> None:
    reference = read_reference(
        read_audio("ref_0890.wav"), [script_of("0890", language)], MAX_SECONDS, aligner
    )
    take = decode(read_audio("take_0890_close.webm"), MAX_SECONDS)
    pause = np.zeros(24_000, dtype=np.float32)
    noisy = np.concatenate([pause, take, pause])
    noisy += np.random.default_rng(1).normal(size=len(noisy), scale=0.001).astype(np.float32)
    data = wav([int(sample * 32767) for sample in noisy])
    assert overall(compare(reference, read_voice(data, MAX_SECONDS), aligner)) > 75


def test_the_engine_caches_a_bounded_number_of_references(
    read_audio: ReadAudio, script_of: ScriptOf
) -> None:
    engine = AnalysisEngine(max_references=1)

    def overall_of(line: str) -> float:
        voice = read_audio(f"ref_{line}.wav")
        return overall(engine.analyse(voice, voice, [script_of(line)], MAX_SECONDS))

    assert [overall_of(line) > 98 for line in ("0930", "0930", "0890", "0930")] == [True] * 4
    assert len(engine._references) == 1


def test_script_times_beyond_the_voice_are_clipped(read_audio: ReadAudio, aligner: Aligner) -> None:
    script = Script(text="그는 착했을지도 모른다", start_time=50.0, end_time=60.0)
    voice = read_audio("ref_0930.wav")
    reference = read_reference(voice, [script], MAX_SECONDS, aligner)
    assert 0 <= overall(compare(reference, read_voice(voice, MAX_SECONDS), aligner)) <= 100


def test_a_silent_recording_is_a_failure(read_audio: ReadAudio) -> None:
    with pytest.raises(AnalysisFailure) as failure:
        read_voice(read_audio("silence_2s.wav"), MAX_SECONDS)
    assert failure.value.reason is Reason.SILENT_AUDIO


def test_a_broken_reference_has_its_own_reason(
    read_audio: ReadAudio, script_of: ScriptOf, aligner: Aligner
) -> None:
    with pytest.raises(AnalysisFailure) as failure:
        read_reference(read_audio("notaudio.wav"), [script_of("0890")], MAX_SECONDS, aligner)
    assert failure.value.reason is Reason.REFERENCE_UNAVAILABLE


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    seconds=st.floats(0.2, 2.0),
    level=st.floats(0.1, 1.0),
    language=st.sampled_from(LANGUAGES),
)
def test_arbitrary_signals_score_within_0_and_100(
    read_audio: ReadAudio,
    script_of: ScriptOf,
    aligner: Aligner,
    seed: int,
    seconds: float,
    level: float,
    language: str | None,
) -> None:
    # Differences of a random walk over 4 ms: low frequencies prevail, but not below a voice.
    walk = np.random.default_rng(seed).normal(size=int(16_000 * seconds)).cumsum()
    noise = walk[64:] - walk[:-64]
    peak = np.abs(noise).max(initial=1e-9)
    data = wav([int(sample) for sample in noise / peak * level * 32767])
    reference = read_reference(
        read_audio("ref_0930.wav"), [script_of("0930", language)], MAX_SECONDS, aligner
    )
    results = compare(reference, read_voice(data, MAX_SECONDS), aligner)
    json.dumps(results, allow_nan=False)
    scores = [value for name, value in results.items() if name.endswith("_score")]
    scores += [word["score"] for word in results["words"]]
    assert all(isinstance(score, float) and math.isfinite(score) for score in scores)
    assert all(0 <= score <= 100 for score in scores if isinstance(score, float))


@pytest.mark.parametrize("reason", list(Reason))
def test_a_failure_can_be_pickled_and_has_a_message(reason: Reason) -> None:
    failure = pickle.loads(pickle.dumps(AnalysisFailure(reason)))
    assert failure.reason is reason
    assert failure.message.endswith(".")

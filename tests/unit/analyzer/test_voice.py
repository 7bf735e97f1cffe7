from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer.align import Aligner
from services.analyzer.decode import SAMPLE_RATE, decode
from services.analyzer.downmix import Samples
from services.analyzer.features import active, frames_in, is_silent, loudness, timbre
from services.analyzer.pitch import pitch, semitones
from tests.unit.analyzer.conftest import ReadAudio


def hum(hz: float, seconds: float = 1.0, level: float = 0.5) -> Samples:
    phase = 2 * np.pi * hz * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    harmonics = np.arange(1, 10)[:, None]
    voice = (np.sin(harmonics * phase) / harmonics).sum(axis=0)
    samples: Samples = (level * voice / np.abs(voice).max()).astype(np.float32)
    return samples


@given(st.integers(1, 9000))
def test_all_contours_have_the_same_length(length: int) -> None:
    samples = hum(150, 1.0)[:length]
    levels = loudness(samples)
    assert len(levels) == len(timbre(samples, levels)) == len(pitch(samples)) == frames_in(samples)


@pytest.mark.parametrize("hz", [80, 150, 300, 450])
def test_the_pitch_of_a_hum_is_measured(hz: float) -> None:
    contour = pitch(hum(hz))
    assert np.nanmedian(contour) == pytest.approx(hz, rel=0.01)


def test_silence_has_no_pitch() -> None:
    assert np.isnan(pitch(np.zeros(SAMPLE_RATE, dtype=np.float32))).all()


def test_an_octave_is_twelve_semitones() -> None:
    assert semitones(np.array([100.0, 200.0, np.nan]), 100.0)[:2] == pytest.approx([0, 12])


def test_loudness_is_in_decibels_of_full_scale() -> None:
    assert loudness(np.ones(SAMPLE_RATE, dtype=np.float32))[50] == pytest.approx(0, abs=0.01)
    assert loudness(np.zeros(SAMPLE_RATE, dtype=np.float32)).max() == -100


@pytest.mark.parametrize(("level", "silent"), [(0.0, True), (0.001, True), (0.05, False)])
def test_a_quiet_recording_is_silent(level: float, silent: bool) -> None:
    assert is_silent(loudness(hum(150, level=level))) is silent


def test_noise_before_the_voice_is_not_voice() -> None:
    hiss = np.random.default_rng(1).normal(size=SAMPLE_RATE).astype(np.float32) * np.float32(0.005)
    voice = active(loudness(np.concatenate([hiss, hum(150), hiss])))
    assert not voice[:95].any()
    assert voice[105:195].all()
    assert not voice[205:].any()


def test_a_take_without_a_pause_is_all_voice() -> None:
    assert active(loudness(hum(150)))[5:-5].all()


def test_timbre_does_not_depend_on_level(read_audio: ReadAudio) -> None:
    samples = decode(read_audio("ref_0930.wav"), 120.0)
    loud, soft = (timbre(x, loudness(x)) for x in (samples, np.float32(0.5) * samples))
    assert np.abs(loud - soft).mean() < 0.05


def test_words_that_the_dictionary_lacks_are_aligned_without_a_fit(
    read_audio: ReadAudio, aligner: Aligner
) -> None:
    samples = decode(read_audio("ref_0870.wav"), 120.0)
    text = "and mister john dashwoode had then leisure to consider how much there might be"
    words = [*text.split(), "prudently", "in", "his", "power", "to", "do", "for", "them"]
    spans = aligner.align(samples, words)
    assert spans is not None
    assert spans[3].fit is None
    assert spans[3].start == pytest.approx(98, abs=15)
    assert all(span.fit is not None for span in spans[4:])


def test_a_compound_of_dictionary_words_has_one_span(
    read_audio: ReadAudio, aligner: Aligner
) -> None:
    samples = decode(read_audio("ref_0890.wav"), 120.0)
    text = "unless to be rather Cold-Hearted, and rather selfish is to be ill-disposed."
    spans = aligner.align(samples, text.split())
    assert spans is not None
    assert len(spans) == 12
    assert (spans[4].start, spans[4].end) == pytest.approx((122, 222), abs=15)
    assert all(-12 < (span.fit or 0) < 0 for span in spans)


def test_another_sentence_has_a_low_fit(read_audio: ReadAudio, aligner: Aligner) -> None:
    samples = decode(read_audio("take_0890_wrongline.mp3"), 120.0)
    spans = aligner.align(
        samples, ["unless", "to", "be", "rather", "cold", "hearted", "and", "rather", "selfish"]
    )
    assert spans is None or np.mean([span.fit or 0 for span in spans]) < -7


@pytest.mark.parametrize("words", [["안녕"], ["hello", "—"]])
def test_words_that_are_not_english_are_not_aligned(aligner: Aligner, words: list[str]) -> None:
    assert aligner.align(hum(150), words) is None

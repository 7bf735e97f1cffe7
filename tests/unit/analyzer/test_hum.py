"""An offset or mains hum neither passes for a voice nor costs points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from services.analyzer.align import Aligner
from services.analyzer.analysis import AnalysisResults, compare, read_reference, read_voice
from services.analyzer.decode import SAMPLE_RATE, decode
from services.analyzer.downmix import Samples
from services.analyzer.failures import AnalysisFailure, Reason
from services.analyzer.hum import without_hum
from tests.unit.analyzer.conftest import MAX_SECONDS, ReadAudio, ScriptOf
from tests.unit.analyzer.test_decode import wav


def mains(hertz: float, count: int, harmonics: tuple[float, ...] = (1.0,)) -> Samples:
    """Hum at -30 dB of full scale. harmonics: their amplitudes."""
    phase = 2 * np.pi * hertz * np.arange(count) / SAMPLE_RATE
    waves = (level * np.sin(order * phase) for order, level in enumerate(harmonics, start=1))
    hum: Samples = (0.045 * np.sum(list(waves), axis=0)).astype(np.float32)
    return hum


def offset(count: int) -> Samples:
    return np.full(count, 0.05, dtype=np.float32)


DISTURBANCES: dict[str, Callable[[int], Samples]] = {
    "offset": offset,
    "50 Hz": lambda count: mains(50.03, count),
    "60 Hz": lambda count: mains(59.97, count),
    "50 Hz with harmonics": lambda count: mains(50.03, count, (1.0, 0.3, 0.5, 0.0, 0.2)),
    "60 Hz with harmonics": lambda count: mains(59.97, count, (1.0, 0.3, 0.5, 0.0, 0.2)),
}


def file_of(samples: Samples) -> bytes:
    return wav([int(sample * 32767) for sample in samples])


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_disturbance_without_a_voice_is_silent(disturbance: str) -> None:
    count = 2 * SAMPLE_RATE
    noise = np.random.default_rng(1).normal(scale=0.0005, size=count).astype(np.float32)
    with pytest.raises(AnalysisFailure) as failure:
        read_voice(file_of(DISTURBANCES[disturbance](count) + noise), MAX_SECONDS)
    assert failure.value.reason is Reason.SILENT_AUDIO


@pytest.mark.parametrize("disturbance", ["offset", "50 Hz", "60 Hz"])
def test_a_disturbance_costs_no_points(
    disturbance: str, read_audio: ReadAudio, script_of: ScriptOf, aligner: Aligner
) -> None:
    reference = read_reference(
        read_audio("ref_0890.wav"), [script_of("0890")], MAX_SECONDS, aligner
    )

    def results(samples: Samples) -> AnalysisResults:
        return compare(reference, read_voice(file_of(samples), MAX_SECONDS), aligner)

    take = decode(read_audio("take_0890_close.webm"), MAX_SECONDS)
    clean = results(take)
    disturbed = results(take + DISTURBANCES[disturbance](len(take)))
    for score in ("overall_score", "pronunciation_score", "pitch_score", "energy_score"):
        assert disturbed[score] == pytest.approx(clean[score], abs=1.0)


def test_frequencies_of_a_voice_do_not_change() -> None:
    tone = mains(87.0, SAMPLE_RATE, (1.0, 0.5, 0.25))
    assert without_hum(tone)[4000:12000] == pytest.approx(tone[4000:12000], abs=0.001)


@pytest.mark.parametrize("count", [1, 2, 100, SAMPLE_RATE - 1, SAMPLE_RATE])
def test_recordings_of_any_length_keep_it(count: int) -> None:
    assert len(without_hum(np.ones(count, dtype=np.float32))) == count

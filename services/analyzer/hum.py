"""Removes what a microphone adds to a voice: a constant offset, rumble and mains hum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from services.analyzer.decode import SAMPLE_RATE
from services.analyzer.downmix import Samples

_BLOCKED_HZ, _PASSED_HZ = 62.0, 75.0
_MARGIN = SAMPLE_RATE // 4

_MAINS_HZ = (50, 60)
_HIGHEST_HARMONIC_HZ = 1000
# Mains keep their frequency within 0.2 %. No voice keeps its pitch so exactly that one line
# rises so far above the spectrum around it.
_LINE_HZ = 1.0
_AROUND_HZ = 8.0
_MIN_PROMINENCE_DB = 20.0
# Where the fundamental is, harmonics are likely, and the voice hides them in part.
_MIN_HARMONIC_PROMINENCE_DB = 12.0
_MIN_SECONDS = 1.0
_BLOCK = 2 * SAMPLE_RATE

Signal = npt.NDArray[np.float64]


def without_hum(samples: Samples) -> Samples:
    """The samples without frequencies below 62 Hz and without mains hum.

    From 75 Hz on, only lines of hum are removed: multiples of 50 and 60 Hz up to 1 kHz that are
    20 dB above the spectrum within 8 Hz of them, or 12 dB if the fundamental is a line too. The
    filter shifts no phase, so times stay the same. Recordings shorter than 1 s keep their lines,
    because their spectrum is too coarse.
    """
    signal = samples - samples.mean(dtype=np.float64)
    if len(signal) >= _MIN_SECONDS * SAMPLE_RATE:
        for hertz in tuple(_hum_lines(signal)):
            _subtract_line(signal, hertz)
    return _high_passed(signal).astype(np.float32)


def _high_passed(signal: Signal) -> Signal:
    """The signal through a raised cosine in the spectrum."""
    # A mirrored margin, so that the ends do not ring.
    margin = min(_MARGIN, len(signal) - 1)
    padded = np.pad(signal, margin, mode="reflect")
    frequencies = np.fft.rfftfreq(len(padded), 1 / SAMPLE_RATE)
    position = np.clip((frequencies - _BLOCKED_HZ) / (_PASSED_HZ - _BLOCKED_HZ), 0.0, 1.0)
    gain = 0.5 - 0.5 * np.cos(np.pi * position)
    filtered: Signal = np.fft.irfft(np.fft.rfft(padded) * gain, len(padded))
    return filtered[margin : margin + len(signal)]


def _hum_lines(signal: Signal) -> Iterator[float]:
    """The exact frequencies of hum, in Hz."""
    decibels = 20 * np.log10(np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) + 1e-9)
    bins_per_hertz = len(signal) / SAMPLE_RATE
    reach, inner, outer = (
        round(hertz * bins_per_hertz) for hertz in (_LINE_HZ, 2 * _LINE_HZ, _AROUND_HZ)
    )
    for mains in _MAINS_HZ:
        threshold = _MIN_PROMINENCE_DB
        for harmonic in range(mains, _HIGHEST_HARMONIC_HZ + 1, mains):
            centre = round(harmonic * bins_per_hertz)
            peak = centre - reach + int(decibels[centre - reach : centre + reach + 1].argmax())
            around = np.append(
                decibels[centre - outer : centre - inner],
                decibels[centre + inner + 1 : centre + outer + 1],
            )
            if decibels[peak] - np.median(around) > threshold:
                if harmonic == mains:
                    threshold = _MIN_HARMONIC_PROMINENCE_DB
                yield (peak + _peak_offset(decibels[peak - 1 : peak + 2])) / bins_per_hertz


def _peak_offset(levels: Signal) -> float:
    """Where a parabola through three levels has its maximum, in bins from the middle one."""
    before, middle, after = map(float, levels)
    curvature = before - 2 * middle + after
    return 0.5 * (before - after) / curvature if curvature else 0.0


def _subtract_line(signal: Signal, hertz: float) -> None:
    """Remove a sine from the signal. Fits its amplitude and phase every 2 s, because both drift."""
    for block in np.array_split(signal, max(1, len(signal) // _BLOCK)):
        phase = 2 * np.pi * hertz / SAMPLE_RATE * np.arange(len(block))
        sines = np.column_stack([np.sin(phase), np.cos(phase)])
        # array_split returns views of the signal.
        block -= sines @ np.linalg.lstsq(sines, block, rcond=None)[0]

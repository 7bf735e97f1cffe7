"""The pitch contour of a voice."""

from __future__ import annotations

import numpy as np
import pyworld
from numpy.lib.stride_tricks import sliding_window_view

from services.analyzer.decode import SAMPLE_RATE
from services.analyzer.downmix import Samples
from services.analyzer.features import FRAME_SECONDS, Contour

LOWEST_HZ = 60.0
HIGHEST_HZ = 600.0
_MEDIAN_REACH = 2


def pitch(samples: Samples) -> Contour:
    """The fundamental frequency of each 10 ms frame in Hz; NaN if the frame is unvoiced.

    DIO refined by StoneMask (Morise, Kawahara and Katayose 2009; Morise et al. 2016), between
    60 and 600 Hz. The median of the voiced frames among 5 removes single octave jumps
    (Rabiner, Sambur and Schmidt 1975).
    """
    signal = samples.astype(np.float64)
    estimate, times = pyworld.dio(
        signal,
        SAMPLE_RATE,
        f0_floor=LOWEST_HZ,
        f0_ceil=HIGHEST_HZ,
        frame_period=FRAME_SECONDS * 1000,
    )
    refined = pyworld.stonemask(signal, estimate, times, SAMPLE_RATE)
    return _smoothed(np.where(refined > 0, refined, np.nan))


def _smoothed(contour: Contour) -> Contour:
    voiced = np.flatnonzero(~np.isnan(contour))
    padded = np.pad(contour, _MEDIAN_REACH, constant_values=np.nan)
    around = sliding_window_view(padded, 2 * _MEDIAN_REACH + 1)[voiced]
    smooth = np.full_like(contour, np.nan)
    if len(voiced):
        smooth[voiced] = np.nanmedian(around, axis=1)
    return smooth


def semitones(contour: Contour, centre_hz: float) -> Contour:
    """The distance of each frame from `centre_hz` in semitones; NaN if unvoiced."""
    distance: Contour = 12 * np.log2(contour / centre_hz)
    return distance

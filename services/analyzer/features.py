"""Features of a voice per frame: loudness and timbre.

Every contour of the analysis has one frame per 10 ms, and frame k is centred on k * 10 ms. So
all contours of the same samples have the same length.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from services.analyzer.decode import SAMPLE_RATE
from services.analyzer.downmix import Samples

FRAME_SECONDS = 0.01
_HOP = int(SAMPLE_RATE * FRAME_SECONDS)
_WINDOW = 400
_FFT = 512
_MEL_BANDS = 26
_CEPSTRA = 12
_DELTA_REACH = 2

_MIN_DB = -100.0
_SILENCE_DB = -50.0
_ACTIVE_RANGE_DB = 35.0
_SURELY_ACTIVE_DB = 20.0
_ABOVE_NOISE_DB = 10.0
_LOUD_FRAMES = 10

Contour = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def frames_in(samples: Samples) -> int:
    """The number of frames in each contour of the samples."""
    return len(samples) // _HOP + 1


def loudness(samples: Samples) -> Contour:
    """The RMS level of a 25 ms window around each frame, in dB of full scale, at least -100."""
    power = np.mean(np.square(_windows(samples)), axis=1)
    levels: Contour = np.maximum(10 * np.log10(power + 1e-12), _MIN_DB)
    return levels


def is_silent(levels: Contour) -> bool:
    """Whether the recording is silent: less than 0.1 s is above -50 dB of full scale."""
    return int(np.count_nonzero(levels > _SILENCE_DB)) < _LOUD_FRAMES


def active(levels: Contour) -> Mask:
    """The frames with voice: at most 35 dB below the loudest, and 10 dB above the noise.

    The noise is the 5th percentile of the levels. Frames less than 20 dB below the loudest
    always count as voice, because a take without a pause has no noise to measure.
    """
    loudest, noise = float(levels.max()), float(np.percentile(levels, 5))
    above_noise = min(noise + _ABOVE_NOISE_DB, loudest - _SURELY_ACTIVE_DB)
    voiced: Mask = levels > max(loudest - _ACTIVE_RANGE_DB, above_noise)
    return voiced


def timbre(samples: Samples, levels: Contour) -> Matrix:
    """The mel cepstra c1-c12 and their slopes, shape (frames, 24).

    Each column has mean 0 and standard deviation 1 over the active frames. This removes the
    effect of the microphone and much of the speaker (cepstral mean and variance normalisation,
    Viikki and Laurila 1998). Cepstra after Davis and Mermelstein 1980; slopes by regression
    over 5 frames, Furui 1986.
    """
    cepstra = _cepstra(samples)
    columns = np.hstack([cepstra, _slopes(cepstra)])
    voiced = columns[active(levels)]
    deviation = voiced.std(axis=0)
    normalised: Matrix = (columns - voiced.mean(axis=0)) / np.where(
        deviation > 1e-6, deviation, 1.0
    )
    return normalised


def _windows(samples: Samples) -> Matrix:
    padded = np.pad(samples.astype(np.float64), (_WINDOW // 2, _WINDOW // 2 + _HOP))
    return sliding_window_view(padded, _WINDOW)[::_HOP][: frames_in(samples)]


def _cepstra(samples: Samples) -> Matrix:
    emphasised = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1])
    spectra = np.fft.rfft(_windows(emphasised) * np.hanning(_WINDOW), _FFT)
    bands = np.log(np.square(np.abs(spectra)) @ _MEL_FILTERS + 1e-8)
    cepstra: Matrix = bands @ _COSINES
    return cepstra


def _slopes(cepstra: Matrix) -> Matrix:
    padded = np.pad(cepstra, ((_DELTA_REACH, _DELTA_REACH), (0, 0)), mode="edge")
    around = sliding_window_view(padded, 2 * _DELTA_REACH + 1, axis=0)
    offsets = np.arange(-_DELTA_REACH, _DELTA_REACH + 1, dtype=np.float64)
    slopes: Matrix = around @ offsets / np.square(offsets).sum()
    return slopes


def _mel_filters() -> Matrix:
    """Triangular filters of equal width in mel, 80 Hz to 7600 Hz, shape (bins, bands)."""
    lowest, highest = 2595 * np.log10(1 + np.array([80.0, 7600.0]) / 700)
    mel = np.linspace(lowest, highest, _MEL_BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: Matrix = np.clip(np.minimum(rising, falling), 0.0, None)
    return filters


def _cosines() -> Matrix:
    """Columns c1-c12 of the discrete cosine transform, shape (bands, cepstra)."""
    band = np.arange(_MEL_BANDS)[:, None] + 0.5
    cosines: Matrix = np.cos(np.pi / _MEL_BANDS * band * np.arange(1, _CEPSTRA + 1))
    return cosines


_MEL_FILTERS = _mel_filters()
_COSINES = _cosines()

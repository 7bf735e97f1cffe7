"""The melody of a voice."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from types import ModuleType

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from services.analyzer.decode import SAMPLE_RATE, Samples
from services.analyzer.features import FRAME_SECONDS, Contour

LOWEST_HZ = 60.0
HIGHEST_HZ = 600.0
_MEDIAN_REACH = 2


def _world() -> ModuleType:
    """The extension of pyworld without its package.

    The package imports `pkg_resources` for its version number, which setuptools
    no longer has.
    """
    package = importlib.util.find_spec("pyworld")
    places = package.submodule_search_locations if package else None
    spec = importlib.machinery.PathFinder.find_spec("pyworld.pyworld", places)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("pyworld")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_WORLD = _world()


def pitch(samples: Samples) -> Contour:
    """Fundamental frequency in Hz of each frame of 10 ms, NaN where unvoiced.

    DIO refined by StoneMask (Morise, Kawahara and Katayose 2009; Morise et al.
    2016), searched from 60 to 600 Hz, then the median of the voiced among 5
    frames, which takes away single jumps of an octave (Rabiner, Sambur and
    Schmidt 1975).
    """
    signal = samples.astype(np.float64)
    rough, times = _WORLD.dio(
        signal,
        SAMPLE_RATE,
        f0_floor=LOWEST_HZ,
        f0_ceil=HIGHEST_HZ,
        frame_period=FRAME_SECONDS * 1000,
    )
    fine = _WORLD.stonemask(signal, rough, times, SAMPLE_RATE)
    return _smoothed(np.where(fine > 0, fine, np.nan))


def _smoothed(contour: Contour) -> Contour:
    voiced = np.flatnonzero(~np.isnan(contour))
    padded = np.pad(contour, _MEDIAN_REACH, constant_values=np.nan)
    around = sliding_window_view(padded, 2 * _MEDIAN_REACH + 1)[voiced]
    smooth = np.full_like(contour, np.nan)
    if len(voiced):
        smooth[voiced] = np.nanmedian(around, axis=1)
    return smooth


def semitones(contour: Contour, centre_hz: float) -> Contour:
    """Distance of each frame from `centre_hz` in semitones, NaN where unvoiced."""
    distance: Contour = 12 * np.log2(contour / centre_hz)
    return distance

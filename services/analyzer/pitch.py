"""The melody of a voice."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from types import ModuleType

import numpy as np

from services.analyzer.decode import SAMPLE_RATE, Samples
from services.analyzer.features import FRAME_SECONDS, Contour

LOWEST_HZ = 60.0
HIGHEST_HZ = 600.0


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
    2016), searched from 60 to 600 Hz.
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
    contour: Contour = np.where(fine > 0, fine, np.nan)
    return contour


def semitones(contour: Contour, centre_hz: float) -> Contour:
    """Distance of each frame from `centre_hz` in semitones, NaN where unvoiced."""
    distance: Contour = 12 * np.log2(contour / centre_hz)
    return distance

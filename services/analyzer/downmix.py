"""Mixes the channels of a recording into one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

# If one of two channels is silent, the mean has a quarter of the power of the other. With less,
# the channels cancel each other, or most of them are silent.
_MIN_POWER_SHARE = 0.24


class Downmix:
    """Mixes channels that arrive in chunks: the mean of all, or one of them.

    Measures the power of the mean, because channels of opposite phase cancel each other.
    """

    def __init__(self, channel: int | None = None) -> None:
        """Create a mix. channel: the only channel to use; default: the mean of all."""
        self._channel = channel
        self._chunks: list[Samples] = []
        self._length = 0
        # One value per channel, and the last one for the mean of the channels.
        self._sums: npt.NDArray[np.float64] | float = 0.0
        self._squares: npt.NDArray[np.float64] | float = 0.0

    def add(self, channels: Samples) -> None:
        """Add the next samples, shape (samples, channels). NaN becomes 0."""
        finite = np.clip(np.nan_to_num(channels, posinf=1.0, neginf=-1.0), -1.0, 1.0)
        mean = finite.mean(axis=1, dtype=np.float32)
        signals = np.column_stack([finite, mean])
        self._length += len(mean)
        self._sums = self._sums + signals.sum(axis=0, dtype=np.float64)
        self._squares = self._squares + np.square(signals, dtype=np.float64).sum(axis=0)
        self._chunks.append(mean if self._channel is None else finite[:, self._channel].copy())

    @property
    def samples(self) -> Samples:
        """The mixed samples, -1 to 1."""
        return np.concatenate([np.empty(0, dtype=np.float32), *self._chunks])

    @property
    def better_channel(self) -> int | None:
        """The loudest channel, if the mean loses more than 6 dB of it; otherwise None."""
        if not self._length:
            return None
        # Around the mean value, because an offset is not sound.
        powers = np.atleast_1d(self._squares - np.square(self._sums) / self._length)
        loudest = int(powers[:-1].argmax())
        return loudest if powers[-1] < _MIN_POWER_SHARE * powers[loudest] else None

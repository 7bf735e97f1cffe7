"""Dynamic time warping: which frames of two voices belong together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.analyzer.features import Matrix

# Beyond this many cells the warp is found on a coarser grid, so that memory
# and time stay bounded.
_MAX_CELLS = 4_000_000

Indices = npt.NDArray[np.intp]

_DIAGONAL, _DOWN, _RIGHT = 0, 1, 2


class Path(NamedTuple):
    """Pairs of frames that belong together, in order; two arrays of the same length."""

    reference: Indices
    take: Indices


def distances(reference: Matrix, take: Matrix) -> Matrix:
    """Euclidean distance of every reference frame to every take frame."""
    squares = np.square(reference).sum(axis=1)[:, None] + np.square(take).sum(axis=1)
    apart: Matrix = np.sqrt(np.maximum(squares - 2 * reference @ take.T, 0.0))
    return apart


def align_frames(reference: Matrix, take: Matrix) -> Path:
    """The cheapest way through both from their first to their last frames.

    Symmetric steps without slope limit, a diagonal counting twice (Sakoe and
    Chiba 1978, P = 0). Both need one frame at least.
    """
    step = int(np.ceil(np.sqrt(len(reference) * len(take) / _MAX_CELLS)))
    coarse = _cheapest(distances(reference[::step], take[::step]))
    return coarse if step == 1 else _refined(coarse, step, len(reference), len(take))


def _refined(coarse: Path, step: int, reference_frames: int, take_frames: int) -> Path:
    """The coarse path with one pair for each reference frame."""
    every = np.arange(reference_frames)
    first = np.unique(coarse.reference, return_index=True)[1]
    take = np.interp(every, coarse.reference[first] * step, coarse.take[first] * step)
    return Path(every, np.minimum(take.astype(np.intp), take_frames - 1))


def _cheapest(apart: Matrix) -> Path:
    steps = _steps(apart)
    i, j = apart.shape[0] - 1, apart.shape[1] - 1
    pairs = [(i, j)]
    while i or j:
        step = steps[i, j]
        i -= step != _RIGHT
        j -= step != _DOWN
        pairs.append((i, j))
    path = np.array(pairs[::-1], dtype=np.intp)
    return Path(path[:, 0], path[:, 1])


def _steps(apart: Matrix) -> npt.NDArray[np.uint8]:
    """The last step of the cheapest path to each cell.

    Goes by antidiagonals, whose cells don't depend on each other. Costs are
    kept by row with one row of infinity above, for two antidiagonals back.
    """
    rows, columns = apart.shape
    steps = np.zeros(apart.shape, dtype=np.uint8)
    before = np.full(rows + 1, np.inf)
    before[0] = 0.0
    last = np.full(rows + 1, np.inf)
    for diagonal in range(rows + columns - 1):
        row = np.arange(max(0, diagonal - columns + 1), min(diagonal, rows - 1) + 1)
        here = apart[row, diagonal - row]
        ways = np.stack([before[row] + 2 * here, last[row] + here, last[row + 1] + here])
        choice = ways.argmin(axis=0)
        steps[row, diagonal - row] = choice
        costs = np.full(rows + 1, np.inf)
        costs[row + 1] = ways[choice, np.arange(len(row))]
        before, last = last, costs
    return steps

"""Dynamic time warping (DTW): matches the frames of two voices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.analyzer.features import Matrix

# A larger distance matrix is computed on a coarser grid, to bound memory and time.
_MAX_CELLS = 4_000_000

Indices = npt.NDArray[np.intp]

_DIAGONAL, _DOWN, _RIGHT = 0, 1, 2


class Path(NamedTuple):
    """The matched frames in order: two arrays of the same length."""

    reference: Indices
    take: Indices


def distances(reference: Matrix, take: Matrix) -> Matrix:
    """The Euclidean distance between every reference frame and every take frame."""
    squares = np.square(reference).sum(axis=1)[:, None] + np.square(take).sum(axis=1)
    result: Matrix = np.sqrt(np.maximum(squares - 2 * reference @ take.T, 0.0))
    return result


def align_frames(reference: Matrix, take: Matrix) -> Path:
    """The path with the least total distance from the first to the last frames of both.

    Symmetric steps without a slope constraint, in which a diagonal step counts twice (Sakoe
    and Chiba 1978, P = 0). Both voices need at least one frame.
    """
    step = int(np.ceil(np.sqrt(len(reference) * len(take) / _MAX_CELLS)))
    path = _shortest_path(distances(reference[::step], take[::step]))
    return path if step == 1 else _refine(path, step, len(reference), len(take))


def _refine(coarse: Path, step: int, reference_frames: int, take_frames: int) -> Path:
    """Interpolate a coarse path to one pair per reference frame."""
    reference = np.arange(reference_frames)
    first = np.unique(coarse.reference, return_index=True)[1]
    take = np.interp(reference, coarse.reference[first] * step, coarse.take[first] * step)
    return Path(reference, np.minimum(take.astype(np.intp), take_frames - 1))


def _shortest_path(distance: Matrix) -> Path:
    steps = _steps(distance)
    i, j = distance.shape[0] - 1, distance.shape[1] - 1
    pairs = [(i, j)]
    while i or j:
        step = steps[i, j]
        i -= step != _RIGHT
        j -= step != _DOWN
        pairs.append((i, j))
    path = np.array(pairs[::-1], dtype=np.intp)
    return Path(path[:, 0], path[:, 1])


def _steps(distance: Matrix) -> npt.NDArray[np.uint8]:
    """The last step of the shortest path to each cell.

    Computes one antidiagonal after the other, because the cells of one do not depend on each
    other. Keeps the costs of the last two antidiagonals by row, below a row of infinity.
    """
    rows, columns = distance.shape
    steps = np.zeros(distance.shape, dtype=np.uint8)
    second_last = np.full(rows + 1, np.inf)
    second_last[0] = 0.0
    last = np.full(rows + 1, np.inf)
    for diagonal in range(rows + columns - 1):
        row = np.arange(max(0, diagonal - columns + 1), min(diagonal, rows - 1) + 1)
        cell = distance[row, diagonal - row]
        candidates = np.stack([second_last[row] + 2 * cell, last[row] + cell, last[row + 1] + cell])
        choice = candidates.argmin(axis=0)
        steps[row, diagonal - row] = choice
        costs = np.full(rows + 1, np.inf)
        costs[row + 1] = candidates[choice, np.arange(len(row))]
        second_last, last = last, costs
    return steps

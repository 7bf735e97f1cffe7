from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer import dtw as module
from services.analyzer.dtw import align_frames, distances
from services.analyzer.features import Matrix


def frames(seed: int, count: int) -> Matrix:
    return np.random.default_rng(seed).normal(size=(count, 3))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a_path_covers_both_voices_in_single_steps(n: int, m: int, seed: int) -> None:
    path = align_frames(frames(seed, n), frames(seed + 1, m))
    assert (path.reference[0], path.take[0]) == (0, 0)
    assert (path.reference[-1], path.take[-1]) == (n - 1, m - 1)
    moves = np.stack([np.diff(path.reference), np.diff(path.take)])
    assert ((moves == 0) | (moves == 1)).all()
    assert (moves.sum(axis=0) > 0).all()


def least_cost(distance: Matrix) -> float:
    """The textbook recurrence, cell by cell."""
    cost = np.full((len(distance) + 1, len(distance[0]) + 1), np.inf)
    cost[0, 0] = 0.0
    for i, row in enumerate(distance):
        for j, d in enumerate(row):
            cost[i + 1, j + 1] = min(cost[i, j] + 2 * d, cost[i, j + 1] + d, cost[i + 1, j] + d)
    return float(cost[-1, -1])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_no_path_has_a_lower_cost(n: int, m: int, seed: int) -> None:
    distance = distances(frames(seed, n), frames(seed + 1, m))
    path = align_frames(frames(seed, n), frames(seed + 1, m))
    weights = np.concatenate([[2], np.diff(path.reference) + np.diff(path.take)])
    cost = float((distance[path.reference, path.take] * weights).sum())
    assert np.isclose(cost, least_cost(distance))


def test_a_stretched_copy_is_matched() -> None:
    voice = np.cumsum(frames(1, 50), axis=0)
    path = align_frames(voice, voice.repeat(2, axis=0))
    assert np.abs(path.take // 2 - path.reference).max() == 0


def test_long_voices_are_matched_on_a_coarser_grid() -> None:
    voice = np.cumsum(frames(2, 5000), axis=0)
    path = align_frames(voice, voice)
    assert len(voice) ** 2 > module._MAX_CELLS
    assert list(path.reference) == list(range(5000))
    assert np.abs(path.take - path.reference).max() <= 5

"""The comparison of `make timing` finds a difference, and none where there is none."""

from __future__ import annotations

from random import Random

import pytest

from attack.timing import Comparison


def sample(seed: int, mean: float) -> list[float]:
    """The seconds of 200 answers, with outliers as on a busy machine."""
    random = Random(seed)
    return [random.gauss(mean, 0.004) + (random.random() < 0.05) * 0.2 for _ in range(200)]


def test_a_difference_of_half_a_deviation_is_clear() -> None:
    assert Comparison(sample(1, 0.042), sample(2, 0.040)).is_clear


@pytest.mark.parametrize("seed", range(10))
def test_equal_distributions_have_no_clear_difference(seed: int) -> None:
    assert not Comparison(sample(seed, 0.040), sample(100 + seed, 0.040)).is_clear


def test_superiority_is_the_share_of_longer_answers() -> None:
    assert Comparison([1.0, 3.0], [2.0, 2.0]).superiority == 0.5
    assert Comparison([2.0, 3.0], [1.0, 2.0]).superiority == 0.875

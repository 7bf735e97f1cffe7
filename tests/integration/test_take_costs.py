"""What a take may cost in messages. Lower these limits whenever the product gets cheaper.

Workers look for jobs more often while a take lasts longer, so slow machines need some room.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.counts import TakeCosts, take_counter

TAKES = 32
MOST_STATEMENTS_AT_ONCE = 5
MOST_STATEMENTS_ONE_AT_A_TIME = 14
MOST_WRITING_TRANSACTIONS = 4
MOST_RPCS = 3
MOST_S3_REQUESTS = 1

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def costs() -> Iterator[tuple[TakeCosts, TakeCosts]]:
    """Of takes with 16 at once, and one at a time."""
    with take_counter() as counter:
        yield counter.count(TAKES, 16), counter.count(TAKES // 2, 1)


def test_a_take_costs_at_most_the_limit_of_statements(costs: tuple[TakeCosts, TakeCosts]) -> None:
    at_once, one_at_a_time = costs
    assert at_once.all_statements <= MOST_STATEMENTS_AT_ONCE, at_once
    assert one_at_a_time.all_statements <= MOST_STATEMENTS_ONE_AT_A_TIME, one_at_a_time


def test_a_take_costs_at_most_the_limit_of_transactions(
    costs: tuple[TakeCosts, TakeCosts],
) -> None:
    at_once, _ = costs
    assert at_once.transactions <= MOST_WRITING_TRANSACTIONS, at_once


def test_a_take_costs_at_most_the_limit_of_rpcs(costs: tuple[TakeCosts, TakeCosts]) -> None:
    at_once, _ = costs
    assert at_once.all_rpcs <= MOST_RPCS, at_once


def test_a_take_costs_at_most_one_request_to_s3(costs: tuple[TakeCosts, TakeCosts]) -> None:
    at_once, _ = costs
    # Requests about the bucket, such as probes, belong to no take.
    of_takes = sum(count for name, count in at_once.s3.items() if not name.endswith("bucket"))
    assert of_takes <= MOST_S3_REQUESTS, at_once

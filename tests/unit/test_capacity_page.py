"""The tables of capacity follow from what was measured."""

from __future__ import annotations

import pytest

from bench.capacity_page import (
    FIGURES,
    ONE_TAKE,
    PAGE,
    TITLES,
    Cost,
    Figures,
    capacity_table,
    costs_table,
    login_seconds,
    one_take,
    read,
    with_tables,
)
from services import registry


@pytest.fixture
def figures() -> Figures:
    """Each operation costs each program 1 ms, and a login costs accounts 60 ms."""
    spent = dict.fromkeys(TITLES, 0.001)
    costs = {name: Cost(spent, 2_000, 3) for name in (*ONE_TAKE, "refresh")}
    costs["login"] = Cost({**spent, "accounts": 0.06}, 0, 1)
    return Figures(costs, {"jobs": 1_000}, {"gateway": 1_000, "analysis": 500}, {})


def cells(table: str, name: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_every_program_has_a_column() -> None:
    assert TITLES.keys() == {"gateway", *registry.PROGRAMS, "postgres", "s3"}


def test_costs_are_in_milliseconds(figures: Figures) -> None:
    row = cells(costs_table(figures), "login")
    assert row == ["1.0"] * 5 + ["60", "1.0", "1.0", "67", "15"]


def test_a_take_includes_the_report_the_watching_and_the_reads(figures: Figures) -> None:
    assert one_take(figures, "catalog") == pytest.approx(0.009)


def test_a_session_costs_its_login_and_its_refreshes(figures: Figures) -> None:
    assert login_seconds(figures, "accounts") == pytest.approx(0.06 / 60 + 0.001 / 10)


def test_pods_grow_with_the_load(figures: Figures) -> None:
    # 1,667 takes a second cost catalog 9.1 ms each, and a pod gives half a core.
    assert cells(capacity_table(figures), "pods of catalog")[-1] == "31"
    assert cells(capacity_table(figures), "pods of catalog")[0] == "2"


@pytest.mark.skipif(not FIGURES.exists(), reason="nothing has been measured")
def test_the_page_has_the_tables_of_the_last_measurement() -> None:
    page = PAGE.read_text("utf-8")
    assert with_tables(page, read()) == page

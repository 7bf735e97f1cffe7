from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.registry import PROGRAMS
from stack.settings import MAIL_SINK, kind_of
from stack.stack import Stack


def programs(folder: Path, *without: str, replicas: int = 1) -> tuple[str, ...]:
    return Stack.on_free_ports(folder, without=without, replicas=replicas).programs


def test_a_stack_runs_every_service(tmp_path: Path) -> None:
    assert {kind_of(name) for name in programs(tmp_path, replicas=2)} >= {
        *(name for name in PROGRAMS if not name.endswith("-worker")),
        MAIL_SINK,
    }


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_service_is_left_out_with_all_its_replicas(tmp_path: Path, replicas: int) -> None:
    left = programs(tmp_path, "accounts", replicas=replicas)
    assert "catalog" in left
    assert not [name for name in left if kind_of(name) == "accounts"]


def test_no_mail_sink_runs_without_accounts(tmp_path: Path) -> None:
    assert MAIL_SINK not in programs(tmp_path, "accounts")


def test_workers_are_left_out_by_their_own_name(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path, without=("analysis",), analysis_workers=2)
    assert "analysis" not in stack.programs
    assert "analysis-worker-2" in stack.programs


def test_the_gateway_of_a_stack_without_accounts_needs_none(tmp_path: Path) -> None:
    def environment(*without: str) -> Mapping[str, str]:
        return Stack.on_free_ports(tmp_path, without=without).environment

    assert environment("accounts")["GATEWAY_ACCOUNTS"] == "false"
    assert "GATEWAY_ACCOUNTS" not in environment()
    # The caller runs both in another way, such as in containers.
    assert "GATEWAY_ACCOUNTS" not in environment("accounts", "gateway")

"""A service imports only what it uses, so that it starts soon and in little memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from services.registry import SERVICE_NAMES

SCRIPT = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sys.modules)
"""
UNUSED = {"rich.console", "httpx._client", "sqlalchemy.orm.session", "alembic.command"}


def loaded_by(service: str) -> set[str]:
    command = [sys.executable, "-c", SCRIPT, f"services.{service}.__main__"]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return set(output.split())


@pytest.mark.parametrize("service", SERVICE_NAMES)
def test_a_service_does_not_load_what_only_other_programs_use(service: str) -> None:
    assert not UNUSED & loaded_by(service)

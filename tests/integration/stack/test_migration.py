"""A stack migrates its own PostgreSQL when it starts, if a schema is older than the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime.revisions import head_revisions
from stack.probes import revisions
from stack.stack import Stack
from tests.databases import WITHOUT, copy_database

ROOT = Path(__file__).parents[3]


def postgresql(data_dir: Path) -> Stack:
    return Stack.on_free_ports(data_dir, without=WITHOUT, seeded=False)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    copy_database(tmp_path / "data")
    return tmp_path / "data"


def test_schemas_at_their_heads_need_no_migration(data_dir: Path) -> None:
    with postgresql(data_dir) as stack:
        assert stack.logs("migrations") == ""


def test_an_older_schema_is_migrated(data_dir: Path) -> None:
    with postgresql(data_dir) as stack:
        command = [sys.executable, "-m", "alembic", "downgrade", "-1"]
        folder = ROOT / "services" / "catalog"
        subprocess.run(command, cwd=folder, env=dict(stack.environment), check=True)
    with postgresql(data_dir) as stack:
        found = revisions(stack.database_url, ["catalog"])
        assert {found["catalog"]} == head_revisions("catalog")

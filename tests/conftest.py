"""Which tests share a worker of pytest-xdist, and how long examples may take."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling, Scheduling

# How long an example takes depends on what else the machine does.
settings.register_profile("sori", deadline=None)
settings.load_profile("sori")

TESTS = Path(__file__).parent
OWN_STACKS = {
    "test_access.py",
    "test_account_data.py",
    "test_login_attacks.py",
    "test_logins.py",
    "test_openapi.py",
    "test_replicas.py",
    "test_secrets_in_logs.py",
    "test_sign_up.py",
    "test_tls.py",
}
"""The files of tests/e2e that share no stack with the others."""
SHARED_CLUSTER = {
    "test_concurrent_reports.py",
    "test_database.py",
    "test_killed_upload_service.py",
    "test_outages.py",
    "test_rolling_restart.py",
    "test_stale_worker.py",
}
"""The files of tests/chaos that use the fixture `shared_cluster`."""


def groups() -> dict[str, str]:
    """The name of the group of each test file that shares a stack with others."""
    files = {
        "e2e": {path.name for path in (TESTS / "e2e").glob("test_*.py")} - OWN_STACKS,
        "chaos": SHARED_CLUSTER,
    }
    return {f"tests/{folder}/{name}": folder for folder, names in files.items() for name in names}


GROUPS = groups()


class StackScheduling(LoadFileScheduling):  # type: ignore[misc]
    """`--dist loadfile`, with all files that share a stack on one worker.

    The mark `xdist_group` would say the same in each file, but xdist 3.8 does not find
    it under pytest 9.2 (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return GROUPS.get(path, path)


def pytest_configure() -> None:
    # The collection of tests creates many objects and no garbage.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling | None:
    if config.getvalue("dist") == "loadfile":
        return StackScheduling(config, log)
    return None


@pytest.fixture(scope="session", autouse=True)
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Name the folder that all workers of this run share."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    os.environ["SORI_TEST_RUN_FOLDER"] = str(shared)

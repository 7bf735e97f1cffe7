"""`deploy/scripts/resume.sql` adds the time of a standstill to the deadlines of jobs."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta

from services.analysis.jobs import State
from services.analysis.store import JobQueue, JobStore
from stack import postgres
from stack.environment import ROOT
from tests.integration.analysis.jobs import NOW, RECORDING, opened

SCRIPT = ROOT / "deploy" / "scripts" / "resume.sql"


def resume(database_url: str, stopped: datetime) -> None:
    command: list[str] = [
        *(str(postgres.binaries() / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
        *(f"--set=stopped={stopped.isoformat()}", f"--file={SCRIPT}", database_url),
    ]
    subprocess.run(command, env=dict(os.environ), check=True)


async def test_a_job_whose_deadline_passed_during_a_standstill_still_waits_for_its_dispatch(
    database_url: str, store: JobStore, queue: JobQueue
) -> None:
    job_id = await opened(store)
    await store.attach_recording(job_id, RECORDING, 1, NOW, None)
    resume(database_url, datetime.now(UTC) - timedelta(hours=1))
    assert await queue.time_out(10) == 0
    assert (await store.get(job_id)).state is State.QUEUED

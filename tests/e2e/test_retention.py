"""RETENTION_DAYS: old analyses are deleted with their recordings, all others stay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from stack.ports import free_ports
from stack.stack import Stack
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Json, Product
from tests.e2e.waiting import eventually

RESULTS: Json = {"analysis_results": {}}


@contextmanager
def worker_with_retention(stack: Stack, days: int) -> Iterator[None]:
    """One more worker, which reaps expired jobs as soon as it starts."""
    (port,) = free_ports(1)
    environment = {
        **stack.environment,
        "ANALYSIS_LISTEN": f"127.0.0.1:{port}",
        "RETENTION_DAYS": str(days),
    }
    command = [sys.executable, "-m", "services.analysis", "--role", "worker"]
    with subprocess.Popen(command, env=environment) as process:
        try:
            yield
        finally:
            process.terminate()
    assert process.returncode == 0


def test_an_old_analysis_is_deleted_with_its_recording_and_others_stay(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, RESULTS), (200, RESULTS))
    old = product.upload_sample(held_token)
    recent = product.upload_sample(held_token, "take_0890_close_48k_stereo.flac")
    for job_id in (old, recent):
        product.final_result(job_id)
    waiting = product.upload_sample(held_token, "take_0890_close.webm")
    product.execute(
        "UPDATE analysis.jobs SET end_time = end_time - interval '2 days' WHERE job_id = $1",
        UUID(old),
    )
    with worker_with_retention(product.stack, days=1):
        eventually(lambda: product.gateway.get(f"/analyses/{old}").status_code == 404)
    assert product.jobs_of(held_token) == [recent, waiting]
    stored = {key.rpartition("/")[2] for key in product.recording_keys(held_token)}
    assert stored == {recent, waiting}

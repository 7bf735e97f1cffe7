"""Expired and deleted analyses disappear with their recordings, all others stay."""

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
def another_worker(stack: Stack, **settings: str) -> Iterator[None]:
    """One more worker, which reaps jobs as soon as it starts."""
    (port,) = free_ports(1)
    environment = {
        **stack.environment,
        "ANALYSIS_LISTEN": f"127.0.0.1:{port}",
        **settings,
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
    with another_worker(product.stack, RETENTION_DAYS="1"):
        eventually(lambda: product.gateway.get(f"/analyses/{old}").status_code == 404)
    assert product.jobs_of(held_token) == [recent, waiting]
    stored = {key.rpartition("/")[2] for key in product.recording_keys(held_token)}
    assert stored == {recent, waiting}


def test_a_deleted_analysis_disappears_with_its_recording_and_others_stay(
    product: Product, held_token: int, analysis_server: AnalysisServer
) -> None:
    analysis_server.answer(held_token, (200, RESULTS))
    original = product.upload_sample(held_token)
    product.final_result(original)
    copy = product.upload_sample(held_token)
    assert product.analysis(copy)["reused_job_id"] == original
    assert product.gateway.delete(f"/analyses/{original}").status_code == 200
    product.execute(
        "UPDATE analysis.jobs SET delete_time = delete_time - interval '2 minutes'"
        " WHERE job_id = $1",
        UUID(original),
    )
    with another_worker(product.stack):
        eventually(lambda: product.jobs_of(held_token) == [copy])
    stored = {key.rpartition("/")[2] for key in product.recording_keys(held_token)}
    assert stored == {copy}
    assert product.result(copy)["result"] == {}

"""A page's EventSource sees the end of its job although the only analysis service restarts."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from stack.stack import Stack
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Json, Product

SCRIPTS = Path(__file__).parents[1] / "js"
NODE = shutil.which("node")
BROWSER = shutil.which("chromium")
OUTAGE_SECONDS = 12.0

pytestmark = pytest.mark.skipif(
    NODE is None or BROWSER is None or not (SCRIPTS / "node_modules" / "playwright-core").exists(),
    reason="Node.js, its packages or chromium are not installed",
)


@contextmanager
def page_that_watches(product: Product, job_id: str) -> Iterator[IO[str]]:
    """Chromium with a page that has received the job's first state; yields what it prints."""
    assert NODE is not None
    url = f"{product.stack.gateway_url}/tokens/analysis-progress/{job_id}"
    options = json.dumps({"browser": BROWSER, "url": url})
    command = [NODE, str(SCRIPTS / "watch.mjs"), options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "watching\n"
        yield process.stdout


def restart(stack: Stack) -> None:
    stack.restart("analysis")


def kill(stack: Stack) -> None:
    stack.kill("analysis")
    stack.wait_ready("analysis")


def take_away_for_a_while(stack: Stack) -> None:
    stack.stop("analysis")
    # The page reconnects after 3 s: its request must wait.
    threading.Event().wait(OUTAGE_SECONDS)
    stack.start("analysis")


@pytest.mark.parametrize("interrupt", [restart, kill, take_away_for_a_while])
def test_a_page_sees_the_end_after_a_restart_and_stops(
    product: Product,
    held_token: int,
    analysis_server: AnalysisServer,
    interrupt: Callable[[Stack], None],
) -> None:
    job_id = product.upload_sample(held_token)
    analysis_server.job(job_id)
    with page_that_watches(product, job_id) as printed:
        interrupt(product.stack)
        product.stack.wait_routed("analysis")
        analysis_server.report(job_id, {"analysis_results": {"score": 1}})
        seen: Json = json.loads(printed.readline())
    assert seen["opened"] >= 2
    # It received the end once, and the browser closed it after that.
    assert seen["statuses"].count("completed") == 1
    assert seen["statuses"][-1] == "completed"

"""The demo: uploads a real recording and shows its result in the terminal."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import plotext
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from stack.seed import SAMPLE_TAKE
from stack.stack import Stack

TOKEN_ID = 1
ENGLISH = {"accept-language": "en"}
WAIT_SECONDS = 60.0

_SCORES = ("overall", "pronunciation", "pitch", "timing", "energy")


def run_demo() -> None:
    """Start a separate stack, upload a take to it, show the result, and stop."""
    console = Console()
    with ExitStack() as exits:
        data_dir = exits.enter_context(tempfile.TemporaryDirectory(prefix="sori-demo-"))
        with console.status("Starting PostgreSQL, S3, the services and the gateway..."):
            stack = exits.enter_context(Stack.on_free_ports(Path(data_dir), without=("accounts",)))
        console.print(f"The stack runs; its gateway is [bold]{stack.gateway_url}[/].")
        client = exits.enter_context(
            httpx.Client(base_url=stack.gateway_url, headers=ENGLISH, timeout=WAIT_SECONDS)
        )
        result = _analysed(client, console)
    _show(result, console)


def _analysed(client: httpx.Client, console: Console) -> dict[str, Any]:
    """Upload the recording, show its progress, and return the result."""
    with SAMPLE_TAKE.open("rb") as recording:
        answer = client.post(f"/tokens/{TOKEN_ID}/upload-audio", files={"file": recording})
    if answer.is_error:
        sys.exit(f"The upload was refused: {answer.json()['message']}")
    job_id = answer.json()["job_id"]
    console.print(f"Uploaded [bold]{SAMPLE_TAKE.name}[/] for token {TOKEN_ID}: job {job_id}")
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} % {task.description}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=100)
        for state in _states(client, job_id):
            bar.update(task, completed=state["progress"], description=state["message"])
    if state["status"] != "completed":
        sys.exit(f"The analysis failed: {state['message']}")
    result: dict[str, Any] = state["result"]
    return result


def _states(client: httpx.Client, job_id: str) -> Iterator[dict[str, Any]]:
    """The states of a job, as the gateway streams them."""
    with client.stream("GET", f"/tokens/analysis-progress/{job_id}") as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


def _show(result: dict[str, Any], console: Console) -> None:
    console.print(_score_table(result))
    console.print(_word_table(result))
    console.print(Text.from_ansi(_contours(result["pitch"], console.width)))


def _score_table(result: dict[str, Any]) -> Table:
    table = Table("score", "of 100", title="Scores")
    for name in _SCORES:
        score = result[f"{name}_score"]
        table.add_row(name, f"{score:5.1f} {'█' * round(score / 5)}")
    return table


def _word_table(result: dict[str, Any]) -> Table:
    table = Table("word", "take (s)", "reference (s)", "score", title="Words")
    for word in result["words"]:
        table.add_row(
            word["text"],
            _span(word["start_time"], word["end_time"]),
            _span(word["reference_start_time"], word["reference_end_time"]),
            f"{word['score']:.0f}",
        )
    return table


def _span(start: float | None, end: float | None) -> str:
    return "not found" if start is None or end is None else f"{start:.2f} - {end:.2f}"


def _contours(pitch: dict[str, Any], width: int) -> str:
    """A plot of both pitch contours, in Hz over seconds."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(min(width, 100), 18)
    plotext.title("Pitch")
    plotext.xlabel("seconds")
    plotext.ylabel("Hz")
    for name, marker in (("reference", "dot"), ("recording", "braille")):
        voiced = [(i * pitch["frame_step"], hz) for i, hz in enumerate(pitch[name]) if hz]
        times, frequencies = zip(*voiced, strict=True) if voiced else ((), ())
        plotext.scatter(list(times), list(frequencies), label=name, marker=marker)
    return str(plotext.build())

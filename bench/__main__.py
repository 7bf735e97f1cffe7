"""`make bench`: everything, ours next to its peers; see docs/performance.md.

`python -m bench [SECTION …] [--smoke]`. Without sections it measures all, and writes
`bench/results.json` and the page. `--smoke` measures so little that only errors count.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module

from rich.console import Console
from rich.table import Table

from bench import page
from bench.load import ROOT
from bench.rows import Row
from bench.scale import FULL, SMOKE, Scale

SECTIONS = (
    "takes",
    "authenticated_takes",
    "logins",
    "counts",
    "large_uploads",
    "sixteen_uploads",
    "resumable",
    "reads",
    "jobs",
    "webhook_to_sse",
    "watchers",
    "processes",
    "idle",
)
RESULTS = ROOT / "bench" / "results.json"


def main() -> None:
    """Measure the chosen sections."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("sections", nargs="*", help=", ".join(SECTIONS))
    parser.add_argument("--smoke", action="store_true", help="measure very little")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; the sections are {', '.join(SECTIONS)}")
    console = Console(width=150)
    scale = SMOKE if arguments.smoke else FULL
    # Let contexts stop what they started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by a signal"))
    rows, failed = measure(arguments.sections or SECTIONS, scale, console)
    if failed:
        sys.exit(f"These sections failed, so nothing was written: {', '.join(failed)}")
    if not arguments.sections and not arguments.smoke:
        write(rows)
        page.main()


def measure(sections: Iterable[str], scale: Scale, console: Console) -> tuple[list[Row], list[str]]:
    """Measure sections and print a table of each; returns all rows, and the failed sections."""
    rows: list[Row] = []
    failed = []
    for name in sections:
        began = time.monotonic()
        try:
            own = import_module(f"bench.sections.{name}").measure(scale)
        except Exception:
            # The other sections take most of half an hour.
            console.print_exception()
            failed.append(name)
            continue
        console.print(table_of(own))
        console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
        rows += own
    return rows, failed


def table_of(rows: list[Row]) -> Table:
    """The table for the terminal."""
    table = Table(title=page.heading(rows[0].section) if rows else "nothing to measure")
    for column in ("what", "ours", "peer", "ratio", "goal", "met"):
        table.add_column(column, justify="right" if column in ("ours", "peer", "ratio") else "left")
    for row in rows:
        table.add_row(row.label, *page.cells(row))
    return table


def write(rows: list[Row]) -> None:
    """Write `results.json`."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    results = {"commit": commit, "cores": os.cpu_count(), "rows": [asdict(row) for row in rows]}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Run the reference analyzer: `python -m services.analyzer`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import uvicorn

from services.analyzer.server import application
from services.analyzer.settings import AnalyzerSettings
from services.runtime.logs import configure_logs
from services.runtime.metrics import serving_metrics


def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish the running jobs and exit with status 0."""
    settings = AnalyzerSettings()
    configure_logs("analyzer", settings.log_level)
    # Worker processes inherit this. There is one per core, so each computes on one thread.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # uvicorn stops gracefully, then raises the signal again.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _exit)
    with serving_metrics(settings.metrics_listen, "analyzer"):
        uvicorn.run(
            application(settings),
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_config=None,
        )


def _exit(_: int, __: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()

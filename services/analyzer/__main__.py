"""Run the analysis server: `python -m services.analyzer`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import uvicorn

from services.analyzer.server import application
from services.analyzer.settings import AnalyzerSettings
from services.runtime.logs import configure_logs


def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish the jobs under way and exit 0."""
    settings = AnalyzerSettings()
    configure_logs("analyzer", settings.log_level)
    # Workers inherit this: each computes on one core, and there is one a core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # uvicorn raises the signal it was stopped by once more when it is done.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _leave)
    uvicorn.run(
        application(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
    )


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()

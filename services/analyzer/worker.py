"""What runs inside a worker process."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Sequence

from services.analyzer.align import Aligner
from services.analyzer.analysis import AnalysisResults, Line, compare, hear, reference_line
from services.analyzer.request import Script


class Analyst:
    """The acoustic model, and the lines lately practised."""

    def __init__(self, max_lines: int = 16) -> None:
        self._aligner = Aligner()
        self._lines: OrderedDict[tuple[bytes, float, tuple[Script, ...]], Line] = OrderedDict()
        self._max_lines = max_lines

    def analyse(
        self, recording: bytes, reference: bytes, scripts: Sequence[Script], max_seconds: float
    ) -> AnalysisResults:
        """The result for one take. Raises AnalysisFailure."""
        take = hear(recording, max_seconds)
        line = self._line(reference, tuple(scripts), max_seconds)
        return compare(line, take, self._aligner)

    def _line(self, reference: bytes, scripts: tuple[Script, ...], max_seconds: float) -> Line:
        key = (hashlib.sha256(reference).digest(), max_seconds, scripts)
        line = self._lines.get(key) or reference_line(
            reference, scripts, max_seconds, self._aligner
        )
        self._lines[key] = line
        self._lines.move_to_end(key)
        if len(self._lines) > self._max_lines:
            self._lines.popitem(last=False)
        return line


_analysts: list[Analyst] = []


def prepare() -> None:
    """Load the acoustic model, and make the process end by its parent's will alone."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _analysts.append(Analyst())


def analyse(
    recording: bytes, reference: bytes, scripts: Sequence[Script], max_seconds: float
) -> AnalysisResults:
    """The result for one take, by this process's analyst. Raises AnalysisFailure."""
    return _analysts[0].analyse(recording, reference, scripts, max_seconds)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

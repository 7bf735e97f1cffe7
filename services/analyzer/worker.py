"""The code that runs in a worker process."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import signal
import threading
from collections import OrderedDict
from collections.abc import Sequence

from services.analyzer.align import Aligner
from services.analyzer.analysis import (
    AnalysisResults,
    Reference,
    compare,
    read_reference,
    read_voice,
)
from services.analyzer.request import Script


class AnalysisEngine:
    """The acoustic model and a cache of recently used references."""

    def __init__(self, max_references: int = 16) -> None:
        self._aligner = Aligner()
        self._references: OrderedDict[tuple[bytes, float, tuple[Script, ...]], Reference] = (
            OrderedDict()
        )
        self._max_references = max_references

    def analyse(
        self, recording: bytes, reference: bytes, scripts: Sequence[Script], max_seconds: float
    ) -> AnalysisResults:
        """The results of one take. Raises AnalysisFailure.

        recording, reference: the content of the audio files.
        """
        take = read_voice(recording, max_seconds)
        prepared = self._reference(reference, tuple(scripts), max_seconds)
        return compare(prepared, take, self._aligner)

    def _reference(
        self, content: bytes, scripts: tuple[Script, ...], max_seconds: float
    ) -> Reference:
        key = (hashlib.sha256(content).digest(), max_seconds, scripts)
        reference = self._references.get(key) or read_reference(
            content, scripts, max_seconds, self._aligner
        )
        self._references[key] = reference
        self._references.move_to_end(key)
        if len(self._references) > self._max_references:
            self._references.popitem(last=False)
        return reference


_engines: list[AnalysisEngine] = []


def prepare(memory_bytes: int) -> None:
    """Load the acoustic model. From now on, only the parent process ends this process.

    memory_bytes: the limit of its address space, so that a hostile file fails in this process
        and does not exhaust the memory of others.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _engines.append(AnalysisEngine())
    # A core dump would contain recordings.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def analyse(
    recording: bytes, reference: bytes, scripts: Sequence[Script], max_seconds: float
) -> AnalysisResults:
    """The results of one take, by the engine of this process. Raises AnalysisFailure."""
    return _engines[0].analyse(recording, reference, scripts, max_seconds)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

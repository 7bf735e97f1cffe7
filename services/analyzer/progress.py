"""The progress of a job, reported while the job runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from services.analyzer.report import ProgressReport


class Stage(Enum):
    """The stages of a job, each with its progress (0-100) and an English sentence.

    The names are the codes for which the analysis service has sentences in each language.
    """

    WAITING = (0, "Waiting for the analysis.")
    RECORDING_FETCHED = (20, "The recording has arrived.")
    ANALYSING = (40, "Analysing the voice.")

    @property
    def report(self) -> ProgressReport:
        """The report for the webhook and the job's status."""
        progress, message = self.value
        return {
            "status": "processing",
            "progress": progress,
            "stage": self.name,
            "message": message,
        }


class Progress:
    """The stage of one job.

    A task of its own sends the reports, so that no job waits for a webhook. It sends one report
    at a time and skips stages that the job has left by then.
    """

    def __init__(self, send: Callable[[ProgressReport], Awaitable[None]]) -> None:
        self.stage = Stage.WAITING
        self._send = send
        self._sending: asyncio.Task[None] | None = None

    def reach(self, stage: Stage) -> None:
        """Enter a stage."""
        self.stage = stage
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_until_current(stage))

    async def stop(self) -> None:
        """Send no further reports, and cancel the one in progress."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    async def _send_until_current(self, stage: Stage) -> None:
        await self._send(stage.report)
        while stage is not self.stage:
            stage = self.stage
            await self._send(stage.report)

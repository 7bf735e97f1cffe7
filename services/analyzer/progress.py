"""How far a job is, told while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from services.analyzer.report import ProgressReport


class Stage(Enum):
    """What a job has reached: the share of its way, 0-100, and a sentence for the learner."""

    ACCEPTED = (0, "분석 차례를 기다리고 있습니다.")
    FETCHED = (20, "녹음을 받았습니다.")
    ANALYSING = (40, "목소리를 분석하고 있습니다.")

    @property
    def report(self) -> ProgressReport:
        """What the webhook and the job's status say."""
        progress, message = self.value
        return {"status": "processing", "progress": progress, "message": message}


class Progress:
    """The stage of one job, told by `tell` in a task of its own, so that no job waits for it.

    One report is under way at a time; the next to follow is that of the stage reached by then.
    """

    def __init__(self, tell: Callable[[ProgressReport], Awaitable[None]]) -> None:
        self.stage = Stage.ACCEPTED
        self._tell = tell
        self._telling: asyncio.Task[None] | None = None

    def reach(self, stage: Stage) -> None:
        """Enter a stage."""
        self.stage = stage
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_up_to_now(stage))

    async def stop(self) -> None:
        """Tell nothing more: a report under way is broken off."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])

    async def _tell_up_to_now(self, stage: Stage) -> None:
        await self._tell(stage.report)
        while stage is not self.stage:
            stage = self.stage
            await self._tell(stage.report)

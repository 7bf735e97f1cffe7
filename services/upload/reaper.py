"""Looking after uploads that nobody looks after any more.

Those that are whole are finished, those that were left expire, and S3 is swept of what
is left of ended ones: when they end, and once more before they are forgotten, for what
came late.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import structlog

from services.runtime.errors import SoriError
from services.upload.engine import Uploads
from services.upload.store import UploadStore
from services.upload.uploads import Holding, Kind, State

BATCH = 20

_logger = structlog.get_logger(__name__)


class UploadReaper:
    """Looks after uploads; any number of processes may at once."""

    def __init__(self, store: UploadStore, uploads: Uploads, pause_seconds: float) -> None:
        self._store = store
        self._uploads = uploads
        self._pause_seconds = pause_seconds

    async def run(self) -> None:
        """Look after them for ever."""
        while True:
            try:
                found = await self._store.claim_due(BATCH)
            except SoriError as error:
                _logger.warning("uploads are not looked after", reason=error.reason)
                found = []
            await asyncio.gather(*(self._look_after(upload_id) for upload_id in found))
            if len(found) < BATCH:
                await asyncio.sleep(self._pause_seconds)

    async def _look_after(self, upload_id: UUID) -> None:
        """Do what one upload needs; what fails is tried again when its time is over."""
        try:
            holding = await self._store.take_over(upload_id)
            if holding is not None:
                await self._help(holding)
        except SoriError as error:
            _logger.warning(
                "an upload is not looked after", upload_id=str(upload_id), reason=error.reason
            )

    async def _help(self, holding: Holding) -> None:
        upload = holding.upload
        expired = upload.expire_time <= datetime.now(UTC)
        if upload.state is not State.RECEIVING:
            await self._sweep(holding, expired)
        elif holding.progress.whole:
            await self._uploads.finish(holding)
        elif expired:
            reason = "UPLOAD_EXPIRED" if upload.plan.resumable else "UPLOAD_TIMED_OUT"
            await self._uploads.give_up(holding, State.EXPIRED, reason)

    async def _sweep(self, holding: Holding, expired: bool) -> None:
        upload = holding.upload
        is_used = upload.state is State.COMPLETED and upload.plan.kind is not Kind.PIECE
        if not (is_used and holding.is_tidy):
            await self._uploads.sweep(holding, whole=not is_used)
        if expired:
            await self._store.forget(upload.upload_id)
        else:
            await self._store.postpone(upload.upload_id)

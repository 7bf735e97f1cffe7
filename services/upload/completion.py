"""Whose an upload is: who is told of it, and who has it in the end."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from services.runtime.shared_errors import AnalysisUnavailable
from services.upload.clients import AnalysisClient, CatalogClient
from services.upload.stream import AssetKind
from services.upload.uploads import Holding, Kind
from services.upload.writer import StoredObject

MARGIN = timedelta(minutes=10)
"""How much longer than the upload its job waits: the upload tells it of its end."""


class Owner(Protocol):
    """What a kind of uploads has to do with others."""

    async def begun(self, holding: Holding) -> None:
        """Tell that an upload was begun; may be told twice. Errors: those of the peers."""

    async def under_way(self, holding: Holding) -> None:
        """Tell that bytes are coming. Errors: JobEnded, UploadSuperseded."""

    async def hand_over(self, holding: Holding, stored: StoredObject) -> int:
        """Give it what has become of the upload; returns the token's revision then.

        It may be given twice. Errors: JobEnded, TokenNotFound, those of the peers.
        """

    async def release(self, holding: Holding, reason: str) -> bool:
        """Tell that nothing comes; True when it was handed over before, and is in use.

        reason: UPPER_SNAKE_CASE. Errors: those of the peers.
        """


class RecordingOwner:
    """The job of a recording."""

    def __init__(self, analysis: AnalysisClient) -> None:
        self._analysis = analysis

    async def begun(self, holding: Holding) -> None:
        upload = holding.upload
        if upload.job_id is not None:
            await self._analysis.open(
                upload.job_id, upload.plan.token_id, timeout=timeout_of(holding)
            )

    async def under_way(self, holding: Holding) -> None:
        if holding.upload.job_id is not None:
            with suppress(AnalysisUnavailable):
                await self._analysis.start_upload(holding.upload.job_id, timeout_of(holding))

    async def hand_over(self, holding: Holding, stored: StoredObject) -> int:
        upload, revision = holding.upload, holding.token_revision
        if upload.job_id is not None:
            await self._analysis.attach(upload.job_id, stored, upload.plan.file_name, revision)
        return revision

    async def release(self, holding: Holding, reason: str) -> bool:
        if holding.upload.job_id is None:
            return False
        return not await self._analysis.fail_upload(holding.upload.job_id, reason)


class AssetOwner:
    """The token of a reference asset."""

    def __init__(self, catalog: CatalogClient) -> None:
        self._catalog = catalog

    async def begun(self, holding: Holding) -> None:
        return

    async def under_way(self, holding: Holding) -> None:
        return

    async def hand_over(self, holding: Holding, stored: StoredObject) -> int:
        plan = holding.upload.plan
        kind = AssetKind(plan.asset_kind or "")
        return await self._catalog.use_asset(plan.token_id, kind, stored.object_key)

    async def release(self, holding: Holding, reason: str) -> bool:
        plan = holding.upload.plan
        kind = AssetKind(plan.asset_kind or "")
        return await self._catalog.has_asset(plan.token_id, kind, holding.object_key)


class NoOwner:
    """A piece is its own."""

    async def begun(self, holding: Holding) -> None:
        return

    async def under_way(self, holding: Holding) -> None:
        return

    async def hand_over(self, holding: Holding, stored: StoredObject) -> int:
        return 0

    async def release(self, holding: Holding, reason: str) -> bool:
        return False


Owners = dict[Kind, Owner]


def timeout_of(holding: Holding) -> timedelta | None:
    """How long its job waits to hear of it; None for as long as jobs usually do."""
    return holding.lifetime + MARGIN if holding.upload.plan.resumable else None


def owners_of(catalog: CatalogClient, analysis: AnalysisClient) -> Owners:
    """The owner of each kind of uploads."""
    return {
        Kind.RECORDING: RecordingOwner(analysis),
        Kind.ASSET: AssetOwner(catalog),
        Kind.PIECE: NoOwner(),
    }

"""Periodic tasks that change what belongs to an account in other services.

The row that begins the work is written together with the change that causes it, and stays until
the other services have answered: no crash and no outage loses it.
"""

from __future__ import annotations

import structlog

from services.accounts.clients import OwnerClient
from services.accounts.pictures import PictureObjects
from services.accounts.store import Adoption, AdoptionStore, ErasureClaim, ErasureStore
from services.runtime.errors import SoriError

_logger = structlog.get_logger(__name__)

INTERVAL_SECONDS = 5.0


class Eraser:
    """Erases everything of deleted accounts."""

    def __init__(
        self,
        store: ErasureStore,
        *,
        uploads: OwnerClient,
        analyses: OwnerClient,
        pictures: PictureObjects,
    ) -> None:
        self._store = store
        self._pictures = pictures
        self._uploads = uploads
        self._analyses = analyses

    async def run_once(self) -> bool:
        """Continue one erasure that is due; returns whether there was one."""
        claim = await self._store.claim()
        if claim is None:
            return False
        try:
            await self._erase(claim)
        except SoriError as error:
            # It is due again when the claim has ended.
            _logger.warning(
                "erasure postponed", erasure_id=str(claim.erasure_id), reason=error.reason
            )
        return True

    async def _erase(self, claim: ErasureClaim) -> None:
        # Uploads first: they create analyses and pictures.
        has_no_uploads = await self._erase_uploads(claim)
        has_no_analyses = await self._erase_analyses(claim)
        await self._pictures.erase(claim.account_id)
        is_empty = has_no_uploads and has_no_analyses
        if is_empty and claim.is_final:
            await self._store.complete(claim)
            _logger.info("erasure completed", erasure_id=str(claim.erasure_id))
        else:
            await self._store.postpone(claim, is_empty=is_empty)

    async def _erase_uploads(self, claim: ErasureClaim) -> bool:
        """Erase the uploads; returns whether none is stored any more."""
        while True:
            erased = await self._uploads.erase(str(claim.account_id))
            await self._store.add(claim, uploads=erased.count)
            # A service that makes no progress is asked again later.
            if not erased.has_more or not erased.count:
                return erased.is_empty

    async def _erase_analyses(self, claim: ErasureClaim) -> bool:
        """Erase the analyses; returns whether none is stored any more."""
        while True:
            erased = await self._analyses.erase(str(claim.account_id))
            await self._store.add(claim, analyses=erased.count)
            # A service that makes no progress is asked again later.
            if not erased.has_more or not erased.count:
                return erased.is_empty


class Adopter:
    """Gives the takes of guests to the accounts that they have created."""

    def __init__(
        self, store: AdoptionStore, *, uploads: OwnerClient, analyses: OwnerClient
    ) -> None:
        self._store = store
        self._services = (uploads, analyses)

    async def run_once(self) -> bool:
        """Do one adoption that is due; returns whether there was one."""
        adoption = await self._store.claim()
        if adoption is None:
            return False
        try:
            await self._adopt(adoption)
        except SoriError as error:
            _logger.warning("adoption postponed", reason=error.reason)
        return True

    async def _adopt(self, adoption: Adoption) -> None:
        for service in self._services:
            await service.adopt(adoption.guest_owner_id, str(adoption.account_id))
        await self._store.finish(adoption)

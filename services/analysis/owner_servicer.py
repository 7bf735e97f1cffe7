"""The servicer of AnalysisOwnerService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

import structlog

from services.analysis.converters import analysis_to, required_owner_id_from
from services.analysis.errors import JobNotFound
from services.analysis.jobs import Recording
from services.analysis.store import Filter, JobStore, OwnedJobs
from services.analysis.store.owned_jobs import BATCH
from services.runtime.interceptors import Context, call_language
from services.runtime.object_store import ObjectStore
from sori.analysis.v1 import analysis_pb2 as pb
from sori.analysis.v1 import analysis_pb2_grpc

EXPORT_PAGE = 100
URL_SECONDS = 3600

_logger = structlog.get_logger(__name__)


class AnalysisOwnerServicer(analysis_pb2_grpc.AnalysisOwnerServiceServicer):
    """The rpcs for the accounts service."""

    def __init__(self, store: JobStore, owned: OwnedJobs, objects: ObjectStore) -> None:
        self._store = store
        self._owned = owned
        self._objects = objects

    async def AdoptAnalyses(
        self, request: pb.AdoptAnalysesRequest, context: Context
    ) -> pb.AdoptAnalysesResponse:
        guest = required_owner_id_from(request.from_owner_id, "from_owner_id", guest=True)
        account = required_owner_id_from(request.to_owner_id, "to_owner_id", guest=False)
        adopted = await self._owned.adopt(guest, account)
        _logger.info("analyses adopted", jobs=adopted)
        return pb.AdoptAnalysesResponse(adopted=adopted)

    async def EraseAnalyses(
        self, request: pb.EraseAnalysesRequest, context: Context
    ) -> pb.EraseAnalysesResponse:
        owner_id = required_owner_id_from(request.owner_id)
        erased = await self._owned.erase(owner_id)
        pending = await self._owned.erased(owner_id)
        _logger.info("analyses erased", jobs=erased, pending=pending)
        return pb.EraseAnalysesResponse(erased=erased, has_more=erased == BATCH, pending=pending)

    async def ExportAnalyses(
        self, request: pb.ExportAnalysesRequest, context: Context
    ) -> AsyncIterator[pb.ExportedAnalysis]:
        language = call_language(context)
        async for job_id in self._jobs_of(required_owner_id_from(request.owner_id)):
            try:
                analysis = await self._store.get_analysis(job_id)
            except JobNotFound:
                # Deleted since the page was read.
                continue
            yield pb.ExportedAnalysis(
                analysis=analysis_to(analysis, language),
                recording_url=await self._url_of(analysis.recording),
            )

    async def _jobs_of(self, owner_id: str) -> AsyncIterator[UUID]:
        """The ids of all jobs of an owner, newest first. Results are too large for pages."""
        position: tuple[datetime, UUID] | None = None
        while page := await self._store.list_page(Filter(owner_id=owner_id), EXPORT_PAGE, position):
            for analysis in page:
                yield analysis.job.job_id
            position = (page[-1].create_time, page[-1].job.job_id)

    async def _url_of(self, recording: Recording | None) -> str:
        if recording is None:
            return ""
        return await self._objects.presigned_url(recording.object_key, URL_SECONDS)

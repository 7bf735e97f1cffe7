"""The UploadService: protobuf in, domain call, protobuf out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from uuid import UUID

from services.runtime.calls import Context, call_language, call_metadata
from services.upload.form import items_of_form
from services.upload.intake import Intake
from services.upload.sentences import UPLOADED
from services.upload.stream import Item, items_of_messages
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc

JOB_ID = "x-job-id"
IDEMPOTENCY_KEY = "idempotency-key"


class UploadServicer(upload_pb2_grpc.UploadServiceServicer):
    """Takes recordings by stream and by form."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def UploadAudio(
        self, request_iterator: AsyncIterator[pb.UploadAudioRequest], context: Context
    ) -> pb.UploadAudioResponse:
        items = items_of_messages(request_iterator, _idempotency_key(context))
        return await self._take(items, context)

    async def UploadAudioForm(
        self, request_iterator: AsyncIterator[pb.UploadAudioFormRequest], context: Context
    ) -> pb.UploadAudioResponse:
        items = items_of_form(request_iterator, _idempotency_key(context))
        return await self._take(items, context)

    async def _take(self, items: AsyncGenerator[Item], context: Context) -> pb.UploadAudioResponse:
        async def opened(job_id: UUID) -> None:
            await context.send_initial_metadata(((JOB_ID, str(job_id)),))

        async with aclosing(items):
            job_id = await self._intake.take(items, opened)
        return pb.UploadAudioResponse(
            message=UPLOADED[call_language(context)], job_id=str(job_id), status="processing"
        )


def _idempotency_key(context: Context) -> str:
    """The header of that name, without the quotes that its draft standard wants."""
    return call_metadata(context).get(IDEMPOTENCY_KEY, "").strip('"')

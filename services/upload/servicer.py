"""The UploadService: protobuf in, domain call, protobuf out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from uuid import UUID

from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context, call_language
from services.upload.assets import AssetIntake
from services.upload.converters import (
    idempotency_key,
    items_of_writes,
    offset_from,
    plan_from,
    upload_id_from,
    upload_to,
)
from services.upload.engine import Uploads
from services.upload.form import items_of_form
from services.upload.intake import Intake
from services.upload.learner_messages import UPLOADED
from services.upload.stream import (
    AssetStart,
    Item,
    Start,
    asset_start,
    items_of_messages,
    start,
)
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc

JOB_ID = "x-job-id"


class UploadServicer(upload_pb2_grpc.UploadServiceServicer):
    """Takes recordings and reference assets, by stream and by form."""

    def __init__(self, uploads: Uploads, intake: Intake, assets: AssetIntake) -> None:
        self._uploads = uploads
        self._intake = intake
        self._assets = assets

    async def UploadAudio(
        self, request_iterator: AsyncIterator[pb.UploadAudioRequest], context: Context
    ) -> pb.UploadAudioResponse:
        key = idempotency_key(context)

        def start_of(metadata: pb.UploadAudioMetadata) -> Start:
            return start(metadata.token_id, metadata.file_name, metadata.request_id or key)

        return await self._take(items_of_messages(request_iterator, start_of), context)

    async def UploadAudioForm(
        self, request_iterator: AsyncIterator[pb.UploadAudioFormRequest], context: Context
    ) -> pb.UploadAudioResponse:
        key = idempotency_key(context)

        def start_of(first: pb.UploadAudioFormRequest, file_name: str) -> Start:
            return start(first.token_id, file_name, key)

        return await self._take(items_of_form(request_iterator, start_of), context)

    async def CreateUpload(self, request: pb.CreateUploadRequest, context: Context) -> pb.Upload:
        upload = await self._uploads.create(plan_from(request, idempotency_key(context)))
        return upload_to(upload)

    async def WriteUpload(
        self, request_iterator: AsyncIterator[pb.WriteUploadRequest], context: Context
    ) -> pb.Upload:
        first = await anext(request_iterator, None)
        if first is None:
            raise InvalidField(FieldViolation("upload_id", "must be in the first message"))
        upload_id, offset = upload_id_from(first.upload_id), offset_from(first)
        items = items_of_writes(first, request_iterator)
        # It would stay in memory for as long as the call.
        del first
        async with aclosing(items):
            return upload_to(await self._uploads.write(upload_id, offset, items))

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.Upload:
        return upload_to(await self._uploads.get(upload_id_from(request.upload_id)))

    async def CancelUpload(self, request: pb.CancelUploadRequest, context: Context) -> pb.Upload:
        return upload_to(await self._uploads.cancel(upload_id_from(request.upload_id)))

    async def UploadReferenceAsset(
        self, request_iterator: AsyncIterator[pb.UploadReferenceAssetRequest], context: Context
    ) -> pb.UploadReferenceAssetResponse:
        def start_of(metadata: pb.UploadReferenceAssetMetadata) -> AssetStart:
            kind = pb.AssetKind.Name(metadata.kind).removeprefix("ASSET_KIND_").lower()
            return asset_start(metadata.token_id, kind)

        return await self._take_asset(items_of_messages(request_iterator, start_of))

    async def UploadReferenceAssetForm(
        self, request_iterator: AsyncIterator[pb.UploadReferenceAssetFormRequest], context: Context
    ) -> pb.UploadReferenceAssetResponse:
        def start_of(first: pb.UploadReferenceAssetFormRequest, _: str) -> AssetStart:
            return asset_start(first.token_id, first.kind)

        return await self._take_asset(items_of_form(request_iterator, start_of))

    async def _take(self, items: AsyncGenerator[Item], context: Context) -> pb.UploadAudioResponse:
        async def opened(job_id: UUID) -> None:
            await context.send_initial_metadata(((JOB_ID, str(job_id)),))

        async with aclosing(items):
            job_id = await self._intake.take(items, opened)
        return pb.UploadAudioResponse(
            message=UPLOADED[call_language(context)], job_id=str(job_id), status="processing"
        )

    async def _take_asset(self, items: AsyncGenerator[Item]) -> pb.UploadReferenceAssetResponse:
        async with aclosing(items):
            asset = await self._assets.take(items)
        return pb.UploadReferenceAssetResponse(
            token_id=asset.token_id,
            token_revision=asset.token_revision,
            object_key=asset.stored.object_key,
            size=asset.stored.size,
            content_type=asset.stored.content_type,
        )

"""The UploadService: protobuf in, domain call, protobuf out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from uuid import UUID

from services.runtime.access import caller_of
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context, call_language
from services.upload.converters import (
    content_of_writes,
    offset_from,
    plan_from,
    request_id_of,
    upload_id_from,
    upload_to,
)
from services.upload.form import file_of_form
from services.upload.guests import Headers, account_of, creator_of
from services.upload.learner_messages import UPLOADED
from services.upload.one_shot import OneShotUploads
from services.upload.stream import (
    AssetStart,
    IncomingFile,
    PictureStart,
    RecordingStart,
    asset_start,
    file_of_messages,
    recording_start,
)
from services.upload.uploads import Uploads
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc

JOB_ID = "x-job-id"


class UploadServicer(upload_pb2_grpc.UploadServiceServicer):
    """Receives recordings, reference assets and pictures, by stream and by form."""

    def __init__(
        self, uploads: Uploads, one_shot: OneShotUploads, *, guests: timedelta | None
    ) -> None:
        """guests: how long a new guest exists; None if guests are not admitted."""
        self._uploads = uploads
        self._one_shot = one_shot
        self._guests = guests

    async def UploadAudio(
        self, request_iterator: AsyncIterator[pb.UploadAudioRequest], context: Context
    ) -> pb.UploadAudioResponse:
        creator = creator_of(context, guests=self._guests)

        def start_of(metadata: pb.UploadAudioMetadata) -> RecordingStart:
            request_id = request_id_of(context, creator, metadata.request_id)
            return recording_start(
                metadata.token_id, metadata.file_name, request_id, creator.owner_id
            )

        file = await file_of_messages(request_iterator, start_of)
        return await self._upload(file, context, creator.headers)

    async def UploadAudioForm(
        self, request_iterator: AsyncIterator[pb.UploadAudioFormRequest], context: Context
    ) -> pb.UploadAudioResponse:
        creator = creator_of(context, guests=self._guests)

        def start_of(first: pb.UploadAudioFormRequest, file_name: str) -> RecordingStart:
            request_id = request_id_of(context, creator)
            return recording_start(first.token_id, file_name, request_id, creator.owner_id)

        file = await file_of_form(request_iterator, start_of)
        return await self._upload(file, context, creator.headers)

    async def CreateUpload(self, request: pb.CreateUploadRequest, context: Context) -> pb.Upload:
        creator = creator_of(context, guests=self._guests)
        upload = await self._uploads.create(plan_from(request, context, creator))
        if creator.headers:
            await context.send_initial_metadata(tuple(creator.headers))
        return upload_to(upload)

    async def WriteUpload(
        self, request_iterator: AsyncIterator[pb.WriteUploadRequest], context: Context
    ) -> pb.Upload:
        first = await anext(request_iterator, None)
        if first is None:
            raise InvalidField(FieldViolation("upload_id", "must be in the first message"))
        upload_id, offset = upload_id_from(first.upload_id), offset_from(first)
        content = content_of_writes(first, request_iterator)
        # The message would stay in memory for as long as the call.
        del first
        async with aclosing(content):
            upload = await self._uploads.write(upload_id, caller_of(context), offset, content)
        return upload_to(upload)

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.Upload:
        upload_id = upload_id_from(request.upload_id)
        return upload_to(await self._uploads.get(upload_id, caller_of(context)))

    async def CancelUpload(self, request: pb.CancelUploadRequest, context: Context) -> pb.Upload:
        upload_id = upload_id_from(request.upload_id)
        return upload_to(await self._uploads.cancel(upload_id, caller_of(context)))

    async def UploadReferenceAsset(
        self, request_iterator: AsyncIterator[pb.UploadReferenceAssetRequest], context: Context
    ) -> pb.UploadReferenceAssetResponse:
        editor = creator_of(context, guests=None)

        def start_of(metadata: pb.UploadReferenceAssetMetadata) -> AssetStart:
            kind = pb.AssetKind.Name(metadata.kind).removeprefix("ASSET_KIND_").lower()
            return asset_start(metadata.token_id, kind, editor.client, editor.owner_id)

        return await self._upload_asset(await file_of_messages(request_iterator, start_of))

    async def UploadReferenceAssetForm(
        self, request_iterator: AsyncIterator[pb.UploadReferenceAssetFormRequest], context: Context
    ) -> pb.UploadReferenceAssetResponse:
        editor = creator_of(context, guests=None)

        def start_of(first: pb.UploadReferenceAssetFormRequest, _: str) -> AssetStart:
            return asset_start(first.token_id, first.kind, editor.client, editor.owner_id)

        return await self._upload_asset(await file_of_form(request_iterator, start_of))

    async def UploadPicture(
        self, request_iterator: AsyncIterator[pb.UploadPictureRequest], context: Context
    ) -> pb.UploadPictureResponse:
        start = _picture_start(context)
        return await self._upload_picture(await file_of_messages(request_iterator, lambda _: start))

    async def UploadPictureForm(
        self, request_iterator: AsyncIterator[pb.UploadPictureFormRequest], context: Context
    ) -> pb.UploadPictureResponse:
        start = _picture_start(context)
        file = await file_of_form(request_iterator, lambda _, __: start)
        return await self._upload_picture(file)

    async def _upload(
        self, file: IncomingFile[RecordingStart], context: Context, headers: Headers
    ) -> pb.UploadAudioResponse:
        """headers: initial metadata that the caller gets with the id of the job."""

        async def send_job_id(job_id: UUID) -> None:
            await context.send_initial_metadata(((JOB_ID, str(job_id)), *headers))

        async with aclosing(file.content):
            job_id = await self._one_shot.upload_recording(file, send_job_id)
        return pb.UploadAudioResponse(
            message=UPLOADED.text(call_language(context)),
            job_id=str(job_id),
            status="processing",
        )

    async def _upload_asset(
        self, file: IncomingFile[AssetStart]
    ) -> pb.UploadReferenceAssetResponse:
        async with aclosing(file.content):
            asset = await self._one_shot.upload_asset(file)
        return pb.UploadReferenceAssetResponse(
            token_id=asset.token_id,
            token_revision=asset.token_revision,
            object_key=asset.stored.object_key,
            size=asset.stored.size,
            content_type=asset.stored.content_type,
        )

    async def _upload_picture(self, file: IncomingFile[PictureStart]) -> pb.UploadPictureResponse:
        async with aclosing(file.content):
            stored = await self._one_shot.upload_picture(file)
        return pb.UploadPictureResponse(size=stored.size, content_type=stored.content_type)


def _picture_start(context: Context) -> PictureStart:
    """The start of a picture of the caller's account. Errors: CredentialsMissing."""
    creator = creator_of(context, guests=None)
    return PictureStart(creator.client, account_of(creator))

"""The TusService: headers and bodies in, domain call, headers out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

from google.api.httpbody_pb2 import HttpBody

from services.runtime.access import caller_of
from services.runtime.interceptors import HTTP_STATUS, Context, call_metadata
from services.upload import tus
from services.upload.chunks import Chunk
from services.upload.converters import request_id_of
from services.upload.errors import UploadIsFinal
from services.upload.guests import Headers, account_of, creator_of
from services.upload.models import Kind, Upload, ended_error
from services.upload.state import State
from services.upload.stream import Content
from services.upload.uploads import Uploads
from sori.upload.v1 import tus_pb2 as pb
from sori.upload.v1 import tus_pb2_grpc

CREATED = 201
NO_CONTENT = 204


class TusServicer(tus_pb2_grpc.TusServiceServicer):
    """Receives resumable uploads from tus clients."""

    def __init__(self, uploads: Uploads, *, guests: timedelta | None) -> None:
        """guests: how long a new guest exists; None if guests are not admitted."""
        self._uploads = uploads
        self._guests = guests

    async def GetTusOptions(self, request: pb.GetTusOptionsRequest, context: Context) -> HttpBody:
        return await self._options(context)

    async def GetTusUploadOptions(
        self, request: pb.GetTusUploadOptionsRequest, context: Context
    ) -> HttpBody:
        return await self._options(context)

    async def CreateTusUpload(
        self, request_iterator: AsyncIterator[pb.CreateTusUploadRequest], context: Context
    ) -> HttpBody:
        headers = call_metadata(context)
        tus.require_version(headers)
        creator = creator_of(context, guests=self._guests)
        request_id = request_id_of(context, creator)
        creation = tus.creation_of(headers, request_id, creator.owner_id)
        if creation.plan.kind is Kind.PICTURE:
            account_of(creator)
        checksum = tus.checksum_of(headers)
        first = await anext(request_iterator, None)
        if first is not None and first.content.data:
            tus.require_content_type(first.content.content_type)
        if creation.partial_uploads:
            upload = await self._uploads.concatenate(
                creation.plan, creator.caller, creation.partial_uploads
            )
        else:
            upload = await self._uploads.create(creation.plan)
            if first is not None and first.content.data:
                content = _content_of(first, request_iterator)
                # The message would stay in memory for as long as the call.
                del first
                async with aclosing(content):
                    upload = await self._uploads.write(
                        upload.upload_id, creator.caller, 0, content, checksum=checksum
                    )
        answer = [tus.location_header(upload), *tus.progress_headers(upload), *creator.headers]
        return await _answer(context, answer, CREATED)

    async def GetTusUpload(self, request: pb.GetTusUploadRequest, context: Context) -> HttpBody:
        tus.require_version(call_metadata(context))
        upload = await self._usable(request.upload_id, context)
        return await _answer(context, tus.upload_headers(upload))

    async def WriteTusUpload(
        self, request_iterator: AsyncIterator[pb.WriteTusUploadRequest], context: Context
    ) -> HttpBody:
        headers = call_metadata(context)
        tus.require_version(headers)
        offset, size = tus.offset_of(headers), tus.late_size_of(headers)
        checksum = tus.checksum_of(headers)
        first = await anext(request_iterator, pb.WriteTusUploadRequest())
        tus.require_content_type(first.content.content_type)
        upload = await self._usable(first.upload_id, context)
        if upload.plan.is_concatenation:
            raise UploadIsFinal(upload_id=upload.upload_id)
        content = _content_of(first, request_iterator)
        # The message would stay in memory for as long as the call.
        del first
        async with aclosing(content):
            upload = await self._uploads.write(
                upload.upload_id,
                caller_of(context),
                offset,
                content,
                exactly=True,
                size=size,
                checksum=checksum,
            )
        return await _answer(context, tus.progress_headers(upload), NO_CONTENT)

    async def DeleteTusUpload(
        self, request: pb.DeleteTusUploadRequest, context: Context
    ) -> HttpBody:
        tus.require_version(call_metadata(context))
        upload = await self._usable(request.upload_id, context)
        await self._uploads.terminate(upload.upload_id, caller_of(context))
        return await _answer(context, (), NO_CONTENT)

    async def _options(self, context: Context) -> HttpBody:
        return await _answer(context, tus.option_headers(self._uploads.limit_bytes), NO_CONTENT)

    async def _usable(self, upload_id: str, context: Context) -> Upload:
        """An upload of the caller that has not failed or expired.

        Errors: UploadNotFound, UploadEnded.
        """
        upload = await self._uploads.get(tus.upload_id_of(upload_id), caller_of(context))
        if upload.state in (State.FAILED, State.CANCELLED, State.EXPIRED):
            raise ended_error(upload)
        return upload


async def _content_of(
    first: pb.CreateTusUploadRequest | pb.WriteTusUploadRequest,
    others: AsyncIterator[pb.CreateTusUploadRequest | pb.WriteTusUploadRequest | memoryview],
) -> Content:
    data: Chunk = first.content.data
    # Each reference would keep the message in memory while the stream waits.
    del first
    if data:
        yield data
    del data
    async for request in others:
        data = request if isinstance(request, memoryview) else request.content.data
        del request
        if data:
            yield data
        del data


async def _answer(context: Context, headers: Headers, status: int = 200) -> HttpBody:
    await context.send_initial_metadata((*headers, (HTTP_STATUS, str(status))))
    return HttpBody()

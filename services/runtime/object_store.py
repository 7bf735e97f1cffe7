"""S3: one client per process, objects in one bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Literal, Self, TypedDict
from urllib.parse import quote

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import ClientError as HttpClientError
from botocore.exceptions import BotoCoreError, ClientError

from services.runtime.errors import StorageUnavailable
from services.runtime.presigning import Presigner
from services.runtime.s3_checksums import (
    CRC32_HEADER,
    Checksum,
    Chunk,
    checksum_argument,
    checksum_header,
)
from services.runtime.s3_model import S3Loader
from services.runtime.s3_puts import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS, PutClient
from services.runtime.settings import ObjectStoreSettings
from services.runtime.uploaded_part import UploadedPart

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

READ_BYTES = 1024**2

_PART_TYPE = "application/octet-stream"

_MISSING = {"404", "NoSuchKey", "NoSuchUpload"}


Content = Chunk | Sequence[Chunk]
"""The content of an object or a part: bytes, or chunks that follow each other."""


class _Announced(TypedDict, total=False):
    ChecksumAlgorithm: Literal["CRC32"]


class _Start(TypedDict, total=False):
    StartAfter: str


class ObjectMissing(Exception):
    """S3 has no such object, or no such multipart upload."""


class ObjectStore:
    """The product's bucket. Every method raises StorageUnavailable if S3 fails."""

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        presigner: Presigner,
        puts: PutClient,
        checksum: Checksum = "crc32",
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._presigner = presigner
        self._puts = puts
        self._checksum = checksum

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: ObjectStoreSettings) -> AsyncIterator[Self]:
        """A store with a client that is closed when the context ends."""
        session, bucket = get_session(), settings.s3_bucket_name
        session.register_component("data_loader", S3Loader())
        key_id, secret = settings.aws_access_key_id or None, settings.aws_secret_access_key
        secret_key = secret.get_secret_value() or None if secret else None
        if key_id and secret_key:
            session.set_credentials(key_id, secret_key)
        async with session.create_client(
            "s3",
            endpoint_url=settings.s3_endpoint_url or None,
            region_name=settings.aws_region,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret_key,
            config=_config(settings),
        ) as client:
            presigner = Presigner(client, bucket, await session.get_credentials())
            endpoint_url, ca_bundle = (
                client.meta.endpoint_url,
                session.get_config_variable("ca_bundle"),
            )
            async with PutClient.connect(presigner, endpoint_url, ca_bundle) as puts:
                yield cls(client, bucket, presigner, puts, settings.s3_checksum)

    async def put(self, key: str, content: Content, content_type: str) -> None:
        """Store an object in one request; S3 verifies its checksum."""
        chunks = _chunks_of(content)
        headers = {"content-type": content_type, **await checksum_header(chunks, self._checksum)}
        with _availability():
            if await self._puts.put(key, "", headers, chunks) is None:
                await self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=b"".join(chunks),
                    ContentType=content_type,
                    **checksum_argument(headers),
                )

    async def start_multipart(self, key: str, content_type: str) -> str:
        """Start a multipart upload; returns its id."""
        # A real S3 refuses part checksums that were not announced here.
        announced: _Announced = {"ChecksumAlgorithm": "CRC32"} if self._checksum == "crc32" else {}
        with _availability():
            answer = await self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=content_type, **announced
            )
        return answer["UploadId"]

    async def put_part(
        self, key: str, upload_id: str, number: int, content: Content
    ) -> UploadedPart:
        """Store one part; S3 verifies its checksum. Errors: ObjectMissing."""
        chunks = _chunks_of(content)
        query = f"partNumber={number}&uploadId={quote(upload_id, safe='')}"
        headers = {"content-type": _PART_TYPE, **await checksum_header(chunks, self._checksum)}
        with _availability():
            answer = await self._puts.put(key, query, headers, chunks)
            if answer is not None:
                return UploadedPart(number, answer["etag"], answer.get(CRC32_HEADER, ""))
            by_botocore = await self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=b"".join(chunks),
                **checksum_argument(headers),
            )
        return UploadedPart(number, by_botocore["ETag"], by_botocore.get("ChecksumCRC32", ""))

    async def finish_multipart(self, key: str, upload_id: str, parts: list[UploadedPart]) -> None:
        """Complete a multipart upload: the parts become an object. Errors: ObjectMissing."""
        with _availability():
            await self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [_completed(part) for part in parts]},
            )

    async def abort_multiparts(self, key: str) -> None:
        """Abort all multipart uploads of an object, and delete their parts."""
        with _availability():
            found = await self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
        for each in found.get("Uploads", ()):
            await self.abort_multipart(each["Key"], each["UploadId"])

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload and delete its parts, if it exists."""
        with suppress(ObjectMissing), _availability():
            await self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload_id
            )

    async def size(self, key: str) -> int:
        """The size of an object in bytes. Errors: ObjectMissing."""
        with _availability():
            answer = await self._client.head_object(Bucket=self._bucket, Key=key)
        return answer["ContentLength"]

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """The content of an object, in pieces of at most 1 MiB. Errors: ObjectMissing."""
        with _availability():
            answer = await self._client.get_object(Bucket=self._bucket, Key=key)
            async with answer["Body"] as body:
                async for piece in body.iter_chunks(READ_BYTES):
                    yield piece

    async def delete_all(self, prefix: str) -> None:
        """Delete all objects whose keys have this prefix."""
        with _availability():
            pages = self._client.get_paginator("list_objects_v2")
            async for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for each in page.get("Contents", ()):
                    await self._client.delete_object(Bucket=self._bucket, Key=each["Key"])

    async def list_page(self, prefix: str, *, after: str, limit: int) -> tuple[list[str], bool]:
        """The next keys with this prefix, sorted, and whether more follow.

        after: skip keys up to this one. limit: of keys, 1 to 1,000; S3 may return fewer.
        """
        start: _Start = {"StartAfter": after} if after else {}
        with _availability():
            page = await self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, MaxKeys=limit, **start
            )
        return [each["Key"] for each in page.get("Contents", ())], page["IsTruncated"]

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        with _availability():
            await self._client.delete_object(Bucket=self._bucket, Key=key)

    async def presigned_url(self, key: str, expires_in_seconds: int) -> str:
        """A URL that reads the object, without credentials, until it expires."""
        with _availability():
            return await self._presigner.url(key, expires_in_seconds)

    async def probe(self) -> None:
        """Return if the bucket responds."""
        with _availability():
            await self._client.head_bucket(Bucket=self._bucket)


def _config(settings: ObjectStoreSettings) -> AioConfig:
    style = settings.s3_addressing_style
    if style == "auto":
        # Virtual-hosted buckets need DNS entries that a self-hosted S3 seldom has. A name with
        # dots matches no certificate.
        is_path = settings.s3_endpoint_url or "." in settings.s3_bucket_name
        style = "path" if is_path else "virtual"
    return AioConfig(
        signature_version="s3v4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=64,
        # With back-off, also if S3 asks to slow down.
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
        # With "auto", botocore presigns for the global host, which redirects to the region or
        # refuses the request.
        s3={"addressing_style": style, "us_east_1_regional_endpoint": "regional"},
        # Checksums of requests are ours.
        request_checksum_calculation="when_required",
        response_checksum_validation=(
            "when_supported" if settings.s3_checksum == "crc32" else "when_required"
        ),
    )


def _chunks_of(content: Content) -> Sequence[Chunk]:
    return (content,) if isinstance(content, Chunk) else content


def _completed(part: UploadedPart) -> CompletedPartTypeDef:
    completed: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": part.etag}
    if part.checksum:
        completed["ChecksumCRC32"] = part.checksum
    return completed


@contextmanager
def _availability() -> Iterator[None]:
    """Translate failures of S3 into StorageUnavailable or ObjectMissing."""
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _MISSING:
            raise ObjectMissing from error
        raise StorageUnavailable from error
    except (BotoCoreError, HttpClientError, OSError) as error:
        raise StorageUnavailable from error

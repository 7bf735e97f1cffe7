"""A file as it streams in, whatever protocol carries it.

A stream is one `Start` or `AssetStart`, any number of `bytes`, and one `Whole`. A client that
vanishes looks like a client that is done, so only `Whole` says that nothing is
missing: a stream that ends without it is cut short.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

from services.runtime.errors import FieldViolation, InvalidField
from services.upload.errors import IncompleteUpload, UploadIdle
from sori.upload.v1 import upload_pb2 as pb

MAX_FILE_NAME_LENGTH = 255
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class AssetKind(StrEnum):
    """What a reference asset is."""

    VOICE = "voice"
    PITCH = "pitch"
    ALIGNMENT = "alignment"
    BACKGROUND = "background"


@dataclass(frozen=True)
class AssetStart:
    """A reference asset of a token comes."""

    token_id: int
    kind: AssetKind


@dataclass(frozen=True)
class Start:
    """A recording comes.

    file_name: as the client calls it, at most 255 characters. request_id: names the
    request; empty when it has no name.
    """

    token_id: int
    file_name: str
    request_id: str


@dataclass(frozen=True)
class Whole:
    """Nothing is missing. size: bytes; sha256: 32 bytes; each checked when given."""

    size: int | None = None
    sha256: bytes | None = None


Item = Start | AssetStart | bytes | Whole
Content = AsyncIterator[bytes | Whole]
"""What comes after the start."""


def start(token_id: int, file_name: str, request_id: str) -> Start:
    """The start of a stream. Errors: InvalidField."""
    violations = []
    if token_id < 1:
        violations.append(FieldViolation("token_id", "must be 1 or more"))
    if request_id and not _REQUEST_ID.fullmatch(request_id):
        problem = "must be 1 to 128 letters, digits and '-_.:', best a UUID"
        violations.append(FieldViolation("request_id", problem))
    if violations:
        raise InvalidField(*violations)
    return Start(token_id, file_name.replace("\0", "")[:MAX_FILE_NAME_LENGTH], request_id)


def asset_start(token_id: int, kind: str) -> AssetStart:
    """The start of a reference asset. Errors: InvalidField."""
    violations = []
    if token_id < 1:
        violations.append(FieldViolation("token_id", "must be 1 or more"))
    if kind not in set(AssetKind):
        violations.append(FieldViolation("kind", f"must be one of {', '.join(AssetKind)}"))
    if violations:
        raise InvalidField(*violations)
    return AssetStart(token_id, AssetKind(kind))


async def content_of(items: AsyncIterator[Item]) -> Content:
    """What comes after the start, which was taken already."""
    async for item in items:
        if isinstance(item, bytes | Whole):
            yield item


async def until_done(telling: asyncio.Task[None], items: Content) -> Content:
    """The items, until who tells that they come has failed: then there is no use for them."""
    async for item in items:
        if telling.done():
            await telling
        yield item


async def not_idle(items: Content, seconds: float) -> Content:
    """The items, for as long as they come. Errors: UploadIdle."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                item = await anext(items)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadIdle(seconds=round(seconds)) from None
        yield item


async def after(items: Content, known: int) -> Content:
    """The items without the first bytes, which are known already."""
    async for item in items:
        if isinstance(item, Whole):
            yield item
        elif known < len(item):
            yield item[known:]
            known = 0
        else:
            known -= len(item)


class _Request(Protocol):
    """One message of an upload, of a recording or of an asset."""

    @property
    def metadata(self) -> Any:
        """What comes."""

    @property
    def chunk(self) -> bytes:
        """The next bytes."""

    @property
    def finish(self) -> pb.UploadAudioFinish:
        """Nothing is missing."""

    def WhichOneof(  # noqa: N802
        self, oneof_group: Literal["payload"]
    ) -> str | None:
        """Which of them this is."""


async def items_of_messages(
    requests: AsyncIterator[_Request], start_of: Callable[[Any], Start | AssetStart]
) -> AsyncGenerator[Item]:
    """The items of a gRPC upload.

    start_of: makes the start of the first message's metadata.
    Errors: InvalidField when messages come out of order, those of `start_of`.
    """
    first = await anext(requests, None)
    if first is None:
        raise IncompleteUpload
    if first.WhichOneof("payload") != "metadata":
        raise InvalidField(FieldViolation("metadata", "must be the first message"))
    yield start_of(first.metadata)
    async for request in requests:
        match request.WhichOneof("payload"):
            case "chunk":
                yield request.chunk
            case "finish":
                yield _whole(request.finish)
                return
            case _:
                raise InvalidField(FieldViolation("payload", "must be chunk or finish"))


def _whole(finish: pb.UploadAudioFinish) -> Whole:
    sha256 = finish.sha256 if finish.HasField("sha256") else None
    if sha256 is not None and len(sha256) != 32:
        raise InvalidField(FieldViolation("finish.sha256", "must be 32 bytes"))
    return Whole(finish.size if finish.HasField("size") else None, sha256)

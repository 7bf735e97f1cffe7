"""A recording inside a multipart/form-data body, parsed as it streams (RFC 7578)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Any

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from services.runtime.errors import FieldViolation, InvalidField
from services.upload.errors import IncompleteUpload
from services.upload.stream import AssetStart, Item, Start, Whole
from sori.upload.v1 import upload_pb2 as pb

PART_NAME = "file"
FormRequest = pb.UploadAudioFormRequest | pb.UploadReferenceAssetFormRequest
StartOf = Callable[[Any, str], Start | AssetStart]

MAX_PART_HEADER_BYTES = 16 * 1024
"""Room for a file name of 4 KB in any encoding."""


async def items_of_form(
    requests: AsyncIterator[FormRequest], start_of: StartOf
) -> AsyncGenerator[Item]:
    """The items of an upload by form.

    start_of: makes the start of the first request and the file's name.
    Errors: InvalidField when the body is no form, or has not exactly one part
    named `file`; IncompleteUpload when the closing boundary is missing; those of
    `start_of`.
    """
    first = await anext(requests, None)
    if first is None:
        raise IncompleteUpload
    parser = PushMultipartParser(
        _boundary(first.form.content_type), max_header_size=MAX_PART_HEADER_BYTES
    )
    form = _Form(partial(start_of, first))
    for item in form.items(parser, first.form.data):
        yield item
    async for request in requests:
        for item in form.items(parser, request.form.data):
            yield item
    _require_closing_boundary(parser)
    if not form.has_file:
        raise _invalid_form(f"must have a part named '{PART_NAME}' with the recording")
    yield Whole()


class _Form:
    """What was seen of a form so far."""

    def __init__(self, start_of: Callable[[str], Start | AssetStart]) -> None:
        self.has_file = False
        self._start_of = start_of

    def items(self, parser: PushMultipartParser, data: bytes) -> list[Item]:
        try:
            events = list(parser.parse(data)) if data else []
        except ParserLimitReached:
            raise _invalid_form("has a part whose headers are too long") from None
        except MultipartError:
            raise _invalid_form("is not valid multipart/form-data") from None
        return [item for event in events for item in self._items_of_event(event)]

    def _items_of_event(self, event: MultipartSegment | bytes | bytearray | None) -> list[Item]:
        if isinstance(event, MultipartSegment):
            self._check_part(event)
            return [self._start_of(event.filename or "")]
        return [bytes(event)] if event else []

    def _check_part(self, part: MultipartSegment) -> None:
        if part.name != PART_NAME or self.has_file:
            raise _invalid_form(f"must have one part named '{PART_NAME}' and no other")
        self.has_file = True


def _require_closing_boundary(parser: PushMultipartParser) -> None:
    try:
        parser.close()
    except MultipartError:
        raise IncompleteUpload from None


def _boundary(content_type: str) -> str:
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise _invalid_form("must be multipart/form-data with a boundary")
    boundary: str = options["boundary"]
    return boundary


def _invalid_form(problem: str) -> InvalidField:
    return InvalidField(FieldViolation("form", problem))

"""A file inside a multipart/form-data body, parsed as it streams (RFC 7578)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
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
from services.upload.stream import Content, Finish, IncomingFile, Start
from sori.upload.v1 import upload_pb2 as pb

PART_NAME = "file"
FormRequest = pb.UploadAudioFormRequest | pb.UploadReferenceAssetFormRequest
StartOf = Callable[[Any, str], Start]
"""Converts the first request and the name of the file."""

MAX_PART_HEADER_BYTES = 16 * 1024
"""Room for a file name of 4 KB in any encoding."""


async def file_of_form(
    requests: AsyncIterator[FormRequest], start_of: StartOf[Start]
) -> IncomingFile[Start]:
    """The file of a form.

    Errors: InvalidField when the body is not a form, or does not have exactly one part
    named `file`; IncompleteUpload when the closing boundary is missing; those of
    `start_of`. The content raises the same errors for what follows the start.
    """
    first = await anext(requests, None)
    if first is None:
        raise IncompleteUpload
    form = _Form(_boundary(first.form.content_type))
    form.feed(first.form.data)
    while form.file_name is None:
        request = await anext(requests, None)
        if request is None:
            form.require_end()
        else:
            form.feed(request.form.data)
    return IncomingFile(start_of(first, form.file_name), _content_of_form(requests, form))


async def _content_of_form(requests: AsyncIterator[FormRequest], form: _Form) -> Content:
    while form.chunks:
        yield form.chunks.popleft()
    async for request in requests:
        form.feed(request.form.data)
        del request
        while form.chunks:
            yield form.chunks.popleft()
    form.require_end()
    yield Finish()


class _Form:
    """The state of a form that is being parsed.

    file_name: None until the file's part begins. chunks: bytes of the file, to be consumed.
    """

    def __init__(self, boundary: str) -> None:
        self.file_name: str | None = None
        self.chunks: deque[bytes] = deque()
        self._parser = PushMultipartParser(boundary, max_header_size=MAX_PART_HEADER_BYTES)

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the body. Errors: InvalidField."""
        if not data:
            return
        try:
            events = list(self._parser.parse(data))
        except ParserLimitReached:
            raise _invalid_form("has a part whose headers are too long") from None
        except MultipartError:
            raise _invalid_form("is not valid multipart/form-data") from None
        for event in events:
            if isinstance(event, MultipartSegment):
                self._begin_part(event)
            elif event:
                self.chunks.append(bytes(event))

    def require_end(self) -> None:
        """Check that the form is complete. Errors: IncompleteUpload, InvalidField."""
        try:
            self._parser.close()
        except MultipartError:
            raise IncompleteUpload from None
        if self.file_name is None:
            raise _invalid_form(f"must have a part named '{PART_NAME}' with the recording")

    def _begin_part(self, part: MultipartSegment) -> None:
        if part.name != PART_NAME or self.file_name is not None:
            raise _invalid_form(f"must have one part named '{PART_NAME}' and no other")
        self.file_name = part.filename or ""


def _boundary(content_type: str) -> str:
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise _invalid_form("must be multipart/form-data with a boundary")
    boundary: str = options["boundary"]
    return boundary


def _invalid_form(problem: str) -> InvalidField:
    return InvalidField(FieldViolation("form", problem))

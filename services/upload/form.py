"""A file inside a multipart/form-data body, parsed as it streams (RFC 7578).

Upload widgets send fields with the file, and some a part that has the file's name but no
file: FilePond describes the file in one, before the file itself. All these are ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from enum import Enum, auto
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
from services.upload.file_names import HEADER_CHARSET, file_name_of
from services.upload.stream import Content, Finish, IncomingFile, Start
from sori.upload.v1 import upload_pb2 as pb

PART_NAME = "file"
FormRequest = (
    pb.UploadAudioFormRequest | pb.UploadReferenceAssetFormRequest | pb.UploadPictureFormRequest
)
StartOf = Callable[[Any, str], Start]
"""Converts the first request and the name of the file."""

MAX_PART_HEADER_BYTES = 16 * 1024
"""Room for a file name of 4 KB in any encoding."""

MAX_PARTS = 100
MAX_OTHER_BYTES = 1024**2
"""All of the body except the file."""

MAX_UNNAMED_BYTES = 64 * 1024
"""A part without a file name that is larger is the file, and no description of it."""


async def file_of_form(
    requests: AsyncIterator[FormRequest], start_of: StartOf[Start]
) -> IncomingFile[Start]:
    """The file of a form.

    requests: after the first, a memoryview is a message with these bytes.
    Errors: InvalidField when the body is not a form, does not have exactly one file named
    `file`, or has too much else; IncompleteUpload when the closing boundary is missing; those
    of `start_of`. The content raises the same errors for what follows the start.
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
            form.feed(_data_of(request))
    return IncomingFile(start_of(first, form.file_name), _content_of_form(requests, form))


async def _content_of_form(
    requests: AsyncIterator[FormRequest | memoryview], form: _Form
) -> Content:
    while form.chunks:
        yield form.chunks.popleft()
    async for request in requests:
        form.feed(_data_of(request))
        del request
        while form.chunks:
            yield form.chunks.popleft()
    form.require_end()
    yield Finish()


class _Part(Enum):
    """What the bytes of the current part are."""

    FILE = auto()
    UNNAMED = auto()
    """The file, or a description of it; the rest of the form tells."""
    OTHER = auto()


class _Form:
    """The state of a form that is being parsed.

    file_name: None until it is known which part is the file; empty if that has no name.
    chunks: bytes of the file, to be consumed.
    """

    def __init__(self, boundary: str) -> None:
        self.file_name: str | None = None
        self.chunks: deque[bytes] = deque()
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=MAX_PART_HEADER_BYTES,
            max_segment_count=MAX_PARTS,
            header_charset=HEADER_CHARSET,
        )
        self._part = _Part.OTHER
        self._unnamed: bytearray | None = None
        self._other_bytes = 0

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the body. Errors: InvalidField."""
        if not data:
            return
        self._other_bytes += len(data)
        try:
            events = list(self._parser.parse(data))
        except ParserLimitReached:
            problem = f"has a part with too long headers, or more than {MAX_PARTS} parts"
            raise _invalid_form(problem) from None
        except MultipartError:
            raise _invalid_form("is not valid multipart/form-data") from None
        for event in events:
            if isinstance(event, MultipartSegment):
                self._begin_part(event)
            elif event:
                self._add(bytes(event))
        if self._other_bytes > MAX_OTHER_BYTES:
            problem = f"has more than {MAX_OTHER_BYTES} bytes besides the file in '{PART_NAME}'"
            raise _invalid_form(problem)

    def require_end(self) -> None:
        """Check that the form is complete. Errors: IncompleteUpload, InvalidField."""
        try:
            self._parser.close()
        except MultipartError:
            raise IncompleteUpload from None
        if self.file_name is None:
            self._unnamed_is_file()

    def _begin_part(self, part: MultipartSegment) -> None:
        self._part = _Part.OTHER
        if part.name != PART_NAME:
            return
        file_name = file_name_of(part)
        if file_name is not None:
            self._require_no_other(self.file_name)
            self._part, self.file_name = _Part.FILE, file_name
        elif self.file_name is None:
            self._require_no_other(self._unnamed)
            self._part, self._unnamed = _Part.UNNAMED, bytearray()

    def _add(self, content: bytes) -> None:
        if self._part is _Part.FILE:
            self.chunks.append(content)
            self._other_bytes -= len(content)
        elif self._part is _Part.UNNAMED and self._unnamed is not None:
            self._unnamed += content
            if len(self._unnamed) > MAX_UNNAMED_BYTES:
                self._unnamed_is_file()

    def _unnamed_is_file(self) -> None:
        if self._unnamed is None:
            raise _invalid_form(f"must have a part named '{PART_NAME}' with the recording")
        self._part, self.file_name = _Part.FILE, ""
        self._other_bytes -= len(self._unnamed)
        if self._unnamed:
            self.chunks.append(bytes(self._unnamed))
        self._unnamed = None

    def _require_no_other(self, earlier: object | None) -> None:
        if earlier is not None:
            raise _invalid_form(f"must have one file named '{PART_NAME}', not several")


def _data_of(request: FormRequest | memoryview) -> bytes:
    # The parser accepts no views.
    return bytes(request) if isinstance(request, memoryview) else request.form.data


def _boundary(content_type: str) -> str:
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise _invalid_form("must be multipart/form-data with a boundary")
    boundary: str = options["boundary"]
    return boundary


def _invalid_form(problem: str) -> InvalidField:
    return InvalidField(FieldViolation("form", problem))

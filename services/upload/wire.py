"""Messages that carry only bytes of a file, read without a copy of those bytes.

protobuf copies a `bytes` field twice: into the message, and into the object that its
attribute returns. Nearly all messages of an upload have that one field, so it is found here in the
encoding itself; protobuf parses all other messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from sori.upload.v1 import tus_pb2 as tus
from sori.upload.v1 import upload_pb2 as pb

_LENGTH_DELIMITED = 2
_MAX_LENGTH_BYTES = 5


def chunk_of(message: bytes, tags: Sequence[int]) -> memoryview | None:
    """The last of nested fields, if each field is the only one of its message.

    tags: the tags of the fields as they are encoded, from the outermost. None for any other
    message, and if the last field is empty.
    """
    start, end = 0, len(message)
    for tag in tags:
        if start >= end or message[start] != tag:
            return None
        length, start = _length_at(message, start + 1)
        if start + length != end:
            return None
    return memoryview(message)[start:] if start < end else None


def _length_at(message: bytes, start: int) -> tuple[int, int]:
    """The length that is encoded at `start`, and where it ends; -1 for an unusual encoding."""
    length = 0
    for index, byte in enumerate(message[start : start + _MAX_LENGTH_BYTES]):
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return length, start + index + 1
    return -1, 0


def deserializer(message_type: type[Message], path: str) -> Callable[[bytes], Any]:
    """A deserializer that returns a memoryview for messages that have only one field.

    path: of this field, which is of type `bytes`; with dots.
    """
    tags, descriptor = [], message_type.DESCRIPTOR
    for name in path.split("."):
        field = descriptor.fields_by_name[name]
        tags.append(field.number << 3 | _LENGTH_DELIMITED)
        descriptor = field.message_type or descriptor

    def deserialize(message: bytes) -> Any:
        chunk = chunk_of(message, tags)
        return message_type.FromString(message) if chunk is None else chunk

    return deserialize


_UPLOADS, _TUS = "/sori.upload.v1.UploadService", "/sori.upload.v1.TusService"

DESERIALIZERS: Mapping[str, Callable[[bytes], Any]] = {
    f"{_UPLOADS}/UploadAudio": deserializer(pb.UploadAudioRequest, "chunk"),
    f"{_UPLOADS}/WriteUpload": deserializer(pb.WriteUploadRequest, "chunk"),
    f"{_UPLOADS}/UploadReferenceAsset": deserializer(pb.UploadReferenceAssetRequest, "chunk"),
    f"{_UPLOADS}/UploadAudioForm": deserializer(pb.UploadAudioFormRequest, "form.data"),
    f"{_UPLOADS}/UploadReferenceAssetForm": deserializer(
        pb.UploadReferenceAssetFormRequest, "form.data"
    ),
    f"{_UPLOADS}/UploadPicture": deserializer(pb.UploadPictureRequest, "chunk"),
    f"{_UPLOADS}/UploadPictureForm": deserializer(pb.UploadPictureFormRequest, "form.data"),
    f"{_TUS}/CreateTusUpload": deserializer(tus.CreateTusUploadRequest, "content.data"),
    f"{_TUS}/WriteTusUpload": deserializer(tus.WriteTusUploadRequest, "content.data"),
}
"""The deserializers of the rpcs that receive files, by method; see `Server`."""

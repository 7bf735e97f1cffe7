"""The headers of tus 1.0.0, read and written (https://tus.io/protocols/resumable-upload). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from uuid import UUID

from services.runtime.errors import FieldViolation, InvalidField
from services.upload.checksums import DIGEST_BYTES, Checksum
from services.upload.errors import TusVersionUnsupported, UnsupportedMediaType, UploadNotFound
from services.upload.stream import start
from services.upload.uploads import Kind, Plan, State, Upload

VERSION = "1.0.0"
EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,"
    "concatenation"
)
CONTENT_TYPE = "application/offset+octet-stream"
MAX_METADATA_LENGTH = 4096
MAX_PIECES = 256
MAX_ID_LENGTH = 64
"""What is repeated of an id that is none."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[!-+\--~]+")

Headers = Mapping[str, str]
"""HTTP headers by their names in lower case."""


@dataclass(frozen=True)
class Creation:
    """What a POST asks for. pieces: the uploads that it is put together of; or none."""

    plan: Plan
    pieces: tuple[UUID, ...] = ()


def require_version(headers: Headers) -> None:
    """Refuse other versions of the protocol. Errors: TusVersionUnsupported."""
    if headers.get("tus-resumable") != VERSION:
        raise TusVersionUnsupported(version=VERSION)


def require_content_type(content_type: str) -> None:
    """Refuse bodies that are no bytes of an upload. Errors: UnsupportedMediaType."""
    if content_type != CONTENT_TYPE:
        raise UnsupportedMediaType(content_type=CONTENT_TYPE)


def upload_id_of(text: str) -> UUID:
    """The upload that a path ends in. Errors: UploadNotFound."""
    try:
        return UUID(text)
    except ValueError:
        raise UploadNotFound(upload_id=text[:MAX_ID_LENGTH]) from None


def creation_of(headers: Headers, request_id: str) -> Creation:
    """What a POST asks for. Errors: InvalidField."""
    concat = headers.get("upload-concat", "")
    if concat.startswith("final;"):
        return _final(headers, concat, request_id)
    if concat not in ("", "partial"):
        raise _bad("Upload-Concat", "must be 'partial' or 'final;' with the paths of uploads")
    size = _declared_size(headers)
    if concat:
        raw = _raw_metadata(headers)
        return Creation(
            Plan(
                Kind.PIECE,
                size=size,
                request_id=start(1, "", request_id).request_id,
                ends_at_size=True,
                client_metadata=raw,
                concat=concat,
            )
        )
    return Creation(_recording(headers, size, request_id))


def offset_of(headers: Headers) -> int:
    """Where a PATCH begins. Errors: InvalidField."""
    return _number(headers, "Upload-Offset")


def late_size_of(headers: Headers) -> int | None:
    """The size of an upload that was begun without one. Errors: InvalidField."""
    return _number(headers, "Upload-Length") if "upload-length" in headers else None


def checksum_of(headers: Headers) -> Checksum | None:
    """What the bytes of a request must come to. Errors: InvalidField."""
    declared = headers.get("upload-checksum")
    if declared is None:
        return None
    algorithm, _, encoded = declared.partition(" ")
    found = next((name for name in DIGEST_BYTES if name == algorithm), None)
    if found is None:
        raise _bad("Upload-Checksum", f"must be of one of {', '.join(DIGEST_BYTES)}")
    digest = _decoded(encoded)
    if digest is None or len(digest) != DIGEST_BYTES[found]:
        raise _bad("Upload-Checksum", f"must be {found}, a space and the digest in base64")
    return Checksum(found, digest)


def metadata_of(raw: str) -> dict[str, str]:
    """The keys and values of Upload-Metadata. Errors: InvalidField."""
    if len(raw) > MAX_METADATA_LENGTH:
        raise _bad("Upload-Metadata", f"must have at most {MAX_METADATA_LENGTH} characters")
    found: dict[str, str] = {}
    for pair in raw.split(",") if raw else ():
        key, _, encoded = pair.strip(" ").partition(" ")
        value = _decoded(encoded)
        if not _KEY.fullmatch(key) or value is None or key in found:
            raise _bad("Upload-Metadata", "must be pairs of a unique key and a base64 value")
        found[key] = value.decode("utf-8", errors="replace")
    return found


def options(limit_bytes: int) -> list[tuple[str, str]]:
    """What OPTIONS says."""
    return [
        ("tus-version", VERSION),
        ("tus-max-size", str(limit_bytes)),
        ("tus-extension", EXTENSIONS),
        ("tus-checksum-algorithm", ",".join(DIGEST_BYTES)),
    ]


def location_of(upload: Upload) -> tuple[str, str]:
    """Where an upload is; a path, so that it is right behind any host."""
    return ("location", f"/uploads/{upload.upload_id}")


def standing(upload: Upload) -> list[tuple[str, str]]:
    """How far an upload is, when it expires, and its job."""
    headers = [("upload-offset", str(upload.committed_size))]
    if upload.state is State.RECEIVING:
        headers.append(("upload-expires", format_datetime(upload.expire_time, usegmt=True)))
    if upload.job_id is not None:
        headers.append(("x-job-id", str(upload.job_id)))
    return headers


def description(upload: Upload) -> list[tuple[str, str]]:
    """All that HEAD says of an upload."""
    plan = upload.plan
    size = ("upload-defer-length", "1") if plan.size is None else ("upload-length", str(plan.size))
    headers = [*standing(upload), size, ("cache-control", "no-store")]
    if plan.client_metadata:
        headers.append(("upload-metadata", plan.client_metadata))
    if plan.concat:
        headers.append(("upload-concat", plan.concat))
    return headers


def _final(headers: Headers, concat: str, request_id: str) -> Creation:
    if "upload-length" in headers or "upload-defer-length" in headers:
        raise _bad("Upload-Length", "must not be given for a final upload")
    paths = concat.removeprefix("final;").split()
    try:
        pieces = tuple(UUID(path.rstrip("/").rpartition("/")[2]) for path in paths)
    except ValueError:
        raise _bad("Upload-Concat", "must name uploads by their paths") from None
    if not 1 <= len(pieces) <= MAX_PIECES:
        raise _bad("Upload-Concat", f"must name 1 to {MAX_PIECES} uploads")
    return Creation(_recording(headers, None, request_id, concat), pieces)


def _recording(headers: Headers, size: int | None, request_id: str, concat: str = "") -> Plan:
    raw = _raw_metadata(headers)
    metadata = metadata_of(raw)
    token_id = metadata.get("token_id", "")
    if not _NUMBER.fullmatch(token_id) or not 1 <= int(token_id) < 2**31:
        raise _bad("Upload-Metadata", "must have the token practised as token_id")
    file_name = metadata.get("filename") or metadata.get("name", "")
    begun = start(int(token_id), file_name, request_id)
    return Plan(
        Kind.RECORDING,
        begun.token_id,
        begun.file_name,
        size,
        request_id=begun.request_id,
        ends_at_size=True,
        client_metadata=raw,
        concat=concat,
    )


def _raw_metadata(headers: Headers) -> str:
    raw = headers.get("upload-metadata", "")
    metadata_of(raw)
    return raw


def _declared_size(headers: Headers) -> int | None:
    deferred = headers.get("upload-defer-length")
    if deferred is None:
        return _number(headers, "Upload-Length")
    if deferred != "1" or "upload-length" in headers:
        raise _bad("Upload-Defer-Length", "must be 1, without an Upload-Length")
    return None


def _number(headers: Headers, name: str) -> int:
    value = headers.get(name.lower(), "")
    if not _NUMBER.fullmatch(value):
        raise _bad(name, "must be a number of bytes")
    return int(value)


def _decoded(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _bad(header: str, problem: str) -> InvalidField:
    return InvalidField(FieldViolation(header, problem))

"""The headers of tus 1.0.0, read and written (https://tus.io/protocols/resumable-upload). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import format_datetime
from uuid import UUID

from services.runtime.errors import FieldViolation, InvalidField
from services.upload.checksums import DIGEST_BYTES, Checksum
from services.upload.errors import TusVersionUnsupported, UnsupportedMediaType, UploadNotFound
from services.upload.file_names import decoded
from services.upload.models import Kind, Plan, Upload
from services.upload.request_ids import RequestId, stored_id
from services.upload.state import OPEN
from services.upload.stream import recording_start

VERSION = "1.0.0"
EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,"
    "concatenation"
)
CONTENT_TYPE = "application/offset+octet-stream"
MAX_METADATA_LENGTH = 4096
MAX_PARTIAL_UPLOADS = 256
NO_TOKEN = 0
PICTURE = "picture"
"""The value of the key `purpose` of Upload-Metadata, if the upload becomes a picture."""
MAX_ID_LENGTH = 64
"""How much of an invalid id an error repeats."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[!-+\--~]+")

Headers = Mapping[str, str]
"""HTTP headers by their names in lower case."""


@dataclass(frozen=True)
class Creation:
    """What a POST creates. partial_uploads: to concatenate, if it creates a final upload."""

    plan: Plan
    partial_uploads: tuple[UUID, ...] = ()


def require_version(headers: Headers) -> None:
    """Refuse other versions of the protocol. Errors: TusVersionUnsupported."""
    if headers.get("tus-resumable") != VERSION:
        raise TusVersionUnsupported(version=VERSION)


def require_content_type(content_type: str) -> None:
    """Refuse bodies of another media type. Errors: UnsupportedMediaType.

    Parameters do not matter: some HTTP libraries add a charset to every content type.
    """
    if content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise UnsupportedMediaType(content_type=CONTENT_TYPE)


def upload_id_of(text: str) -> UUID:
    """The upload id at the end of a path. Errors: UploadNotFound."""
    try:
        return UUID(text)
    except ValueError:
        raise UploadNotFound(upload_id=text[:MAX_ID_LENGTH]) from None


def creation_of(headers: Headers, request_id: RequestId, owner_id: str = "") -> Creation:
    """What a POST creates. owner_id: the owner of it. Errors: InvalidField."""
    creation = _unowned_creation(headers, request_id)
    return replace(creation, plan=replace(creation.plan, owner_id=owner_id))


def _unowned_creation(headers: Headers, request_id: RequestId) -> Creation:
    concat = headers.get("upload-concat", "")
    if concat.startswith("final;"):
        return _final(headers, concat, request_id)
    if concat not in ("", "partial"):
        raise _bad("Upload-Concat", "must be 'partial', or 'final;' and the paths of uploads")
    size = _declared_size(headers)
    if concat:
        return Creation(_partial(headers, size, request_id))
    if metadata_of(_raw_metadata(headers)).get("purpose") == PICTURE:
        return Creation(_without_token(Kind.PICTURE, headers, size, request_id))
    return Creation(_recording(headers, size, request_id))


def offset_of(headers: Headers) -> int:
    """The offset of the first byte of a PATCH. Errors: InvalidField."""
    return _number(headers, "Upload-Offset")


def late_size_of(headers: Headers) -> int | None:
    """The size that a PATCH declares late; None if it declares none. Errors: InvalidField."""
    return _number(headers, "Upload-Length") if "upload-length" in headers else None


def checksum_of(headers: Headers) -> Checksum | None:
    """The declared checksum of a request. Errors: InvalidField."""
    declared = headers.get("upload-checksum")
    if declared is None:
        return None
    algorithm, _, encoded = declared.partition(" ")
    found = next((name for name in DIGEST_BYTES if name == algorithm), None)
    if found is None:
        raise _bad("Upload-Checksum", f"must use one of {', '.join(DIGEST_BYTES)}")
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
        found[key] = decoded(value)
    return found


def option_headers(limit_bytes: int) -> list[tuple[str, str]]:
    """The headers of an answer to OPTIONS."""
    return [
        ("tus-version", VERSION),
        ("tus-max-size", str(limit_bytes)),
        ("tus-extension", EXTENSIONS),
        ("tus-checksum-algorithm", ",".join(DIGEST_BYTES)),
    ]


def location_header(upload: Upload) -> tuple[str, str]:
    """The URL of an upload: a path, so that it is correct behind any host."""
    return ("location", f"/uploads/{upload.upload_id}")


def progress_headers(upload: Upload) -> list[tuple[str, str]]:
    """The offset of an upload, its expiry and its job."""
    headers = [("upload-offset", str(upload.committed_size))]
    if upload.state in OPEN:
        headers.append(("upload-expires", format_datetime(upload.expire_time, usegmt=True)))
    if upload.job_id is not None:
        headers.append(("x-job-id", str(upload.job_id)))
    return headers


def upload_headers(upload: Upload) -> list[tuple[str, str]]:
    """The headers of an answer to HEAD."""
    plan = upload.plan
    size = ("upload-defer-length", "1") if plan.size is None else ("upload-length", str(plan.size))
    headers = [*progress_headers(upload), size, ("cache-control", "no-store")]
    if plan.client_metadata:
        headers.append(("upload-metadata", plan.client_metadata))
    if plan.client_concat:
        headers.append(("upload-concat", plan.client_concat))
    return headers


def _partial(headers: Headers, size: int | None, request_id: RequestId) -> Plan:
    plan = _without_token(Kind.PARTIAL, headers, size, request_id)
    return replace(plan, client_concat="partial")


def _without_token(kind: Kind, headers: Headers, size: int | None, request_id: RequestId) -> Plan:
    violations = request_id.violations()
    if violations:
        raise InvalidField(*violations)
    return Plan(
        kind,
        size=size,
        request_id=request_id.within(NO_TOKEN),
        client=request_id.client,
        ends_at_size=True,
        client_metadata=_raw_metadata(headers),
    )


def _final(headers: Headers, concat: str, request_id: RequestId) -> Creation:
    if "upload-length" in headers or "upload-defer-length" in headers:
        raise _bad("Upload-Length", "must not be given for a final upload")
    paths = concat.removeprefix("final;").split()
    try:
        partial_uploads = tuple(UUID(path.rstrip("/").rpartition("/")[2]) for path in paths)
    except ValueError:
        raise _bad("Upload-Concat", "must name uploads by their paths") from None
    if not 1 <= len(partial_uploads) <= MAX_PARTIAL_UPLOADS:
        raise _bad("Upload-Concat", f"must name 1 to {MAX_PARTIAL_UPLOADS} uploads")
    if len(set(partial_uploads)) < len(partial_uploads):
        raise _bad("Upload-Concat", "must name each upload once")
    plan = _recording(headers, None, request_id, concat)
    if not plan.request_id:
        # A client that received no answer repeats its request.
        names = ("final", str(plan.token_id), *map(str, partial_uploads))
        plan = replace(plan, request_id=stored_id(*names))
    return Creation(plan, partial_uploads)


def _recording(headers: Headers, size: int | None, request_id: RequestId, concat: str = "") -> Plan:
    raw = _raw_metadata(headers)
    metadata = metadata_of(raw)
    token_id = metadata.get("token_id", "")
    if not _NUMBER.fullmatch(token_id) or not 1 <= int(token_id) < 2**31:
        raise _bad("Upload-Metadata", "must have the id of the token as token_id")
    file_name = metadata.get("filename") or metadata.get("name", "")
    start = recording_start(int(token_id), file_name, request_id)
    return Plan(
        Kind.RECORDING,
        start.token_id,
        start.file_name,
        size,
        request_id=start.request_id,
        client=start.client,
        ends_at_size=True,
        client_metadata=raw,
        client_concat=concat,
        is_concatenation=bool(concat),
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

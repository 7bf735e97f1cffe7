"""Headers, statuses and bodies for the OpenAPI document, by method of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.openapi_facts import JOB_ID, UPLOAD_ID

Json = dict[str, Any]


@dataclass(frozen=True)
class Header:
    """A header of requests or responses."""

    name: str
    schema: Json
    description: str


_TUS_VERSION: Json = {"type": "string", "enum": ["1.0.0"], "example": "1.0.0"}
_BYTES: Json = {
    "type": "integer",
    "format": "int64",
    "minimum": 0,
    "maximum": 2**53 - 1,
    "example": 101484,
}
_BASE_64 = "[A-Za-z0-9+/]"
_CHECKSUM = f"^(sha1 {_BASE_64}{{27}}=|sha256 {_BASE_64}{{43}}=|crc32c {_BASE_64}{{6}}==)$"

HEADERS: Mapping[str, Header] = {
    header.name: header
    for header in (
        Header(
            "Accept-Language",
            {"type": "string", "example": "en"},
            "The languages that the learner reads (RFC 9110): sentences are Korean, or English if"
            " it has the greater weight.",
        ),
        Header(
            "Idempotency-Key",
            {
                "type": "string",
                "pattern": '^([A-Za-z0-9._:-]{1,128}|"[A-Za-z0-9._:-]{1,128}")$',
                "example": UPLOAD_ID,
            },
            "The name of this request, ideally a UUID, with or without quotes. A repeated request"
            " with the same name has no second effect.",
        ),
        Header("Tus-Resumable", _TUS_VERSION, "The version of the tus protocol."),
        Header("Tus-Version", _TUS_VERSION, "The versions of tus that the server supports."),
        Header(
            "Tus-Extension",
            {"type": "string", "example": "creation,checksum,termination"},
            "The extensions of tus that the server supports.",
        ),
        Header("Tus-Max-Size", _BYTES, "The size of the largest upload, in bytes."),
        Header(
            "Tus-Checksum-Algorithm",
            {"type": "string", "example": "sha1,sha256,crc32c"},
            "The algorithms that `Upload-Checksum` may use.",
        ),
        Header(
            "Upload-Length",
            _BYTES,
            "The size of the complete upload, in bytes. Required at creation, unless"
            " `Upload-Defer-Length` or a final `Upload-Concat` replaces it.",
        ),
        Header(
            "Upload-Defer-Length",
            {"type": "string", "enum": ["1"]},
            "The size is not known yet; a later PATCH states it in `Upload-Length`.",
        ),
        Header(
            "Upload-Offset", _BYTES, "The number of durable bytes, where the next byte belongs."
        ),
        Header(
            "Upload-Metadata",
            {
                "type": "string",
                "maxLength": 4096,
                "example": "token_id MQ==,filename dGFrZS53YXY=",
            },
            "Pairs of a key and a base64 value, separated by commas: `token_id` (required for a"
            " recording) and `filename`; `purpose` with the value `picture` for the picture of the"
            " caller's account.",
        ),
        Header(
            "Upload-Checksum",
            {
                "type": "string",
                "pattern": _CHECKSUM,
                "example": "sha1 Lve95gjOVATpfV8EL5X4nxwjKHE=",
            },
            "The algorithm, and the digest of this body in base64.",
        ),
        Header(
            "Upload-Concat",
            {"type": "string", "pattern": "^(partial|final;.+)$", "example": "partial"},
            "`partial` for a part of another upload; `final;` and the paths of the parts, separated"
            " by spaces, for the upload made of them.",
        ),
        Header(
            "Upload-Expires",
            {"type": "string", "example": "Sun, 29 Nov 2026 09:30:00 GMT"},
            "When the upload expires if no more bytes arrive (an HTTP date).",
        ),
        Header(
            "Location",
            {"type": "string", "example": f"/uploads/{UPLOAD_ID}"},
            "The path of the new upload, or the page at which a login continues.",
        ),
        Header(
            "Set-Cookie",
            {"type": "string", "example": "sori_login_0f1e2d3c4b5a=…; Path=/; HttpOnly"},
            "The state of a login, or the refresh token.",
        ),
        Header(
            "X-Job-Id",
            {"type": "string", "format": "uuid", "example": JOB_ID},
            "The analysis job of the upload. A partial upload has none.",
        ),
        Header(
            "Last-Event-ID",
            {"type": "string", "example": "0"},
            "The id of the last event that an EventSource received; it sends the header itself"
            " when it reconnects.",
        ),
        Header(
            "Cache-Control",
            {"type": "string", "example": "no-store"},
            "The state of an upload must not be cached.",
        ),
        Header(
            "ETag",
            {"type": "string", "example": 'W/"1-1"'},
            "A fingerprint of the response. Send it in `If-None-Match` to read again, or, for a"
            " resource, in `If-Match` to change it.",
        ),
        Header(
            "If-None-Match",
            {"type": "string", "example": 'W/"1-1"'},
            "The etags of responses that the client has, separated by commas: the response is 304"
            " without a body if it would be one of them.",
        ),
        Header(
            "If-Match",
            {"type": "string", "example": 'W/"1-1"'},
            "The etag that the resource must have; otherwise the response is 412 and nothing"
            " changes.",
        ),
        Header(
            "Retry-After",
            {"type": "integer", "minimum": 0, "example": 2},
            "Seconds to wait before the next attempt.",
        ),
    )
}

REQUEST_HEADERS: Mapping[str, tuple[str, ...]] = {
    "WatchAnalysis": ("Last-Event-ID",),
    "UploadAudioForm": ("Idempotency-Key",),
    "CreateTusUpload": (
        "Tus-Resumable",
        "Upload-Length",
        "Upload-Defer-Length",
        "Upload-Metadata",
        "Upload-Concat",
        "Upload-Checksum",
        "Idempotency-Key",
    ),
    "GetTusUpload": ("Tus-Resumable",),
    "WriteTusUpload": ("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Checksum"),
    "DeleteTusUpload": ("Tus-Resumable",),
}
"""The request headers of a method, besides Accept-Language and those of conditions."""

REQUIRED_HEADERS: Mapping[str, frozenset[str]] = {
    "CreateTusUpload": frozenset({"Tus-Resumable"}),
    "GetTusUpload": frozenset({"Tus-Resumable"}),
    "WriteTusUpload": frozenset({"Tus-Resumable", "Upload-Offset"}),
    "DeleteTusUpload": frozenset({"Tus-Resumable"}),
}


@dataclass(frozen=True)
class Success:
    """A successful response without a body, or with headers.

    status: the HTTP status.
    always: headers that it always has.
    sometimes: headers that it has if the upload has such a value.
    """

    status: int = 200
    always: tuple[str, ...] = ()
    sometimes: tuple[str, ...] = ()


_OPTIONS = Success(
    204,
    ("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"),
)
_TUS = ("Tus-Resumable", "Tus-Version")

SUCCESSES: Mapping[str, Success] = {
    "UploadAudioForm": Success(200, ("X-Job-Id",)),
    "GetTusOptions": _OPTIONS,
    "GetTusUploadOptions": _OPTIONS,
    "CreateTusUpload": Success(
        201, (*_TUS, "Location", "Upload-Offset"), ("Upload-Expires", "X-Job-Id")
    ),
    "GetTusUpload": Success(
        200,
        (*_TUS, "Upload-Offset", "Cache-Control"),
        (
            "Upload-Length",
            "Upload-Defer-Length",
            "Upload-Metadata",
            "Upload-Concat",
            "Upload-Expires",
            "X-Job-Id",
        ),
    ),
    "WriteTusUpload": Success(204, (*_TUS, "Upload-Offset"), ("Upload-Expires", "X-Job-Id")),
    "DeleteTusUpload": Success(204, _TUS),
    "ForwardProviderLogin": Success(303, ("Location",)),
    "BeginProviderLogin": Success(302, ("Location", "Set-Cookie")),
    "EndProviderLogin": Success(302, ("Location", "Set-Cookie")),
}
"""The successful response of a method, where it is not 200 with JSON only."""

OTHER_RESPONSES: Mapping[str, Mapping[int, str]] = {
    "WatchAnalysis": {
        204: "The analysis has ended and `Last-Event-ID` is the last event: do not reconnect.",
    },
}
"""Further responses of a method that are not errors and have no body: their descriptions."""

NOT_MODIFIED = "The client has this response already: `If-None-Match` has its etag."

PRECONDITION_FAILED = 412
"""The status of ETAG_MISMATCH if the client sent `If-Match`."""


@dataclass(frozen=True)
class RawBody:
    """A request body that the service parses itself (google.api.HttpBody).

    media_type: of the request.
    message: full name of the message that the body is in JSON; empty for other bodies.
    schema: of the other bodies.
    """

    media_type: str
    message: str = ""
    schema: Json | None = None
    required: bool = True


_FORM = RawBody(
    "multipart/form-data",
    schema={
        "type": "object",
        "description": "A form with one file.",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "The file."},
        },
    },
)
_TUS_MEDIA_TYPE = "application/offset+octet-stream"
_BINARY: Json = {"type": "string", "format": "binary", "description": "The next bytes."}

RAW_BODIES: Mapping[str, RawBody] = {
    "UploadAudioForm": _FORM,
    "UploadReferenceAssetForm": _FORM,
    "UploadPictureForm": _FORM,
    "CreateTusUpload": RawBody(_TUS_MEDIA_TYPE, schema=_BINARY, required=False),
    "WriteTusUpload": RawBody(_TUS_MEDIA_TYPE, schema=_BINARY),
    "ReportAnalysis": RawBody("application/json", message="sori.analysis.v1.AnalysisReport"),
    "ForwardProviderLogin": RawBody(
        "application/x-www-form-urlencoded",
        schema={
            "type": "object",
            "description": "The parameters of the provider.",
            "properties": {
                name: {"type": "string", "description": text}
                for name, text in (
                    ("code", "The authorization code."),
                    ("state", "The state that BeginProviderLogin sent."),
                    ("error", "The provider's error, if the login failed there."),
                )
            },
        },
    ),
}
"""The body of each method that maps it to an HttpBody."""

RAW_RESPONSES: Mapping[str, Json] = {
    "GetKeys": {
        "type": "object",
        "description": "The public keys (RFC 7517).",
        "example": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": "…", "y": "…"}]},
    },
    "GetDiscovery": {
        "type": "object",
        "description": "The discovery document.",
        "example": {"issuer": "https://sori.example", "jwks_uri": "…"},
    },
    "ExportMe": {
        "type": "object",
        "description": "All data of the account.",
        "example": {"account": {}, "sessions": [], "analyses": []},
    },
}
"""The JSON that a service writes itself as an HttpBody."""

BODY_STATUSES = frozenset({413, 415, 460})
"""Errors that only a request with a body can cause."""

UNLISTED_STATUSES = frozenset({404, 405})
"""Errors of the gateway about paths and methods that are not in the document."""

"""Facts for the OpenAPI document that the annotations of the contract cannot state.

The comments of the contract state most of them in words. `tests/unit/test_openapi.py` compares
the tables with the contract and with the errors of the services; `tests/e2e/test_openapi.py`
compares the document with the running product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

JOB_ID = "01a222e9-283e-7193-82bd-5393a53152fd"
UPLOAD_ID = "01a222e9-2f51-7c30-9d0e-6f1be6a1c0d4"
_TIME = "2026-11-28T09:30:00.250Z"
_SHA_256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

# At least one character that is not white space, and no NUL. Python's white space includes
# control characters that `\s` of JavaScript does not.
_NOT_BLANK = r"^[^\u0000]*[^\u0000\u001c-\u001f\u0085\s][^\u0000]*$"
_NO_NUL = r"^[^\u0000]*$"
_LANGUAGE_CODE = r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$"
_OBJECT_KEY = r"^references/[A-Za-z0-9/_-]+([.][A-Za-z0-9/_-]+)*$"
_REASON = r"^[A-Z][A-Z0-9_]{0,63}$"
_PROVIDER = r"^[a-z][a-z0-9-]{0,30}$"
_LANGUAGES = ["ko", "en"]
_PASSWORD: Json = {"maxLength": 256, "pattern": _NO_NUL, "example": "correct horse battery"}
_NEW_PASSWORD: Json = {**_PASSWORD, "minLength": 8}
_PICTURE_TYPE: Json = {
    "enum": ["image/png", "image/jpeg", "image/webp"],
    "example": "image/png",
}
_STATUSES = ["processing", "completed", "failed", "cancelled"]
_TOKEN_STATUSES = _STATUSES[:3]


def _id(example: int) -> Json:
    return {"minimum": 1, "example": example}


def _optional_id(example: int) -> Json:
    return {"minimum": 0, "example": example}


def _text(limit: int, example: str, *, required: bool = False) -> Json:
    if required:
        return {"minLength": 1, "maxLength": limit, "pattern": _NOT_BLANK, "example": example}
    return {"maxLength": limit, "pattern": _NO_NUL, "example": example}


def _count(example: int) -> Json:
    return {"minimum": 0, "example": example}


def _seconds(example: float) -> Json:
    return {"minimum": 0, "example": example}


_UUID: Json = {"format": "uuid", "example": JOB_ID}
_IDS: Json = {
    "minItems": 1,
    "maxItems": 1000,
    "uniqueItems": True,
    "items": {"minimum": 1},
    "example": [1, 2],
}
_URL: Json = {
    "maxLength": 2000,
    "pattern": r"^(https?://[^\u0000]+)?$",
    "example": "https://example.org/clip",
}

FIELDS: Mapping[str, Json] = {
    # Of all messages that have a field of this name.
    "id": _id(1),
    "ids": _IDS,
    "token_id": _id(1),
    "job_id": _UUID,
    "upload_id": {"format": "uuid", "example": UPLOAD_ID},
    "account_id": _UUID,
    "session_id": _UUID,
    "passkey_id": _UUID,
    "erasure_id": _UUID,
    "create_time": {"example": _TIME},
    "refresh_time": {"example": _TIME},
    "expire_time": {"example": _TIME},
    "request_time": {"example": _TIME},
    "complete_time": {"example": _TIME},
    "deadline": {"example": _TIME},
    "time": {"example": _TIME},
    "update_time": {"example": _TIME},
    "use_time": {"example": _TIME},
    "start_time": _seconds(0.0),
    "end_time": _seconds(5.3),
    "etag": {"example": "1-1"},
    "revision": _count(1),
    "progress": {"minimum": 0, "maximum": 100, "example": 100},
    "page_size": {"minimum": 0, "example": 50},
    "page_token": {"maxLength": 512, "example": ""},
    "next_page_token": {"example": ""},
    "content_type": {"example": "audio/wav"},
    "sha256": {"pattern": "^[0-9a-f]{64}$", "example": _SHA_256},
    "file_name": {"maxLength": 255, "example": "take.wav"},
    "failure_reason": {"pattern": _REASON, "example": "SILENT_AUDIO"},
    "query": _text(100, "ㅅㅈ", required=True),
    "size": {"pattern": "^[0-9]+$", "example": "101484"},
    "message": {"example": "분석 완료"},
    "email": {"maxLength": 254, "example": "me@example.com"},
    "provider": {"pattern": _PROVIDER, "example": "google"},
    "password": _PASSWORD,
    "current_password": _PASSWORD,
    "new_password": _NEW_PASSWORD,
    "device": _text(100, "Chrome on Windows"),
    "time_zone": {"maxLength": 64, "example": "Asia/Seoul"},
    "language": {"enum": ["", *_LANGUAGES], "example": "ko"},
    "totp_code": {"example": "123456"},
    "grant_type": {"enum": ["client_credentials"]},
    # Of one message. These precede the ones above.
    "CreateActorRequest.request_id": _UUID,
    "CreateTokenRequest.request_id": _UUID,
    "CreateScriptRequest.request_id": _UUID,
    "Actor.id": _optional_id(1),
    "Actor.name": _text(200, "수지", required=True),
    "Actor.aliases": {
        "maxItems": 50,
        "uniqueItems": True,
        "items": _text(200, "Suzy", required=True),
        "example": ["Suzy"],
    },
    "Actor.token_count": _count(3),
    "Token.id": _optional_id(1),
    "Token.name": _text(200, "Sense and Sensibility: ill disposed", required=True),
    "Token.actor_ids": {
        "minItems": 1,
        "maxItems": 50,
        "uniqueItems": True,
        "items": {"minimum": 1},
        "example": [1],
    },
    "Token.category": _text(100, "audiobook"),
    "Token.source_url": _URL,
    "Token.thumbnail_url": _URL,
    "Token.view_count": _count(12),
    "ReferenceAsset.object_key": {
        "maxLength": 500,
        "pattern": _OBJECT_KEY,
        "example": "references/ref_0890/voice.wav",
    },
    "ReferenceAsset.url": {"example": ""},
    "Script.id": _optional_id(1),
    "Script.text": _text(2000, "To be ill disposed.", required=True),
    "Script.translation": _text(2000, "심성이 나쁜 것."),
    "Script.language_code": {"maxLength": 35, "pattern": _LANGUAGE_CODE, "example": "en"},
    "Script.words": {"maxItems": 500},
    "Word.text": _text(200, "disposed", required=True),
    "Word.start_time": _seconds(4.1),
    "Word.end_time": _seconds(5.0),
    "Word.probability": {"minimum": 0, "maximum": 1, "example": 0.98},
    "ListTokensRequest.category": _text(100, "audiobook"),
    "ListTokensRequest.actor_id": _optional_id(1),
    "ListTokensRequest.max_duration": _seconds(10.0),
    "ListTokensRequest.text": _text(200, "disposed"),
    "ListTokensRequest.order_by": {"enum": ["latest", "popular", "shuffled"]},
    "ListTokensRequest.seed": _count(7),
    "ListScriptsRequest.token_id": _optional_id(1),
    "ListAnalysesRequest.token_id": _optional_id(1),
    "ListAnalysesRequest.status": {"enum": _STATUSES},
    "ListAnalysesRequest.created_from": {"example": _TIME},
    "ListAnalysesRequest.created_before": {"example": _TIME},
    "TextMatch.text": {"example": "수지"},
    "TextMatch.score": {"minimum": 0, "maximum": 1, "example": 0.95},
    "TextRange.start": _count(0),
    "TextRange.end": _count(2),
    "AnalysisResult.status": {"enum": _TOKEN_STATUSES, "example": "completed"},
    "AnalysisResult.token_id": {"pattern": "^[0-9]+$", "example": "1"},
    "AnalysisProgress.status": {"enum": _TOKEN_STATUSES, "example": "completed"},
    "Analysis.status": {"enum": _STATUSES, "example": "completed"},
    "Analysis.token_revision": _count(3),
    "Analysis.analyzer_version": {"maxLength": 64, "example": "1"},
    "Analysis.end_time": {"example": _TIME},
    "Analysis.reused_job_id": {"example": ""},
    "Analysis.retried_job_id": {"example": ""},
    "DispatchAttempt.number": _id(1),
    "DispatchAttempt.start_time": {"example": _TIME},
    "DispatchAttempt.end_time": {"example": _TIME},
    "DispatchAttempt.worker": {"example": "analysis-0:1"},
    "DispatchAttempt.error": {"example": ""},
    "ReportAnalysisRequest.signature": {"example": "1.c2lnbmF0dXJl"},
    "AnalysisReport.status": {"enum": ["", "processing", "failed"]},
    "UploadAudioResponse.message": {"example": "업로드 완료, 백그라운드에서 처리됩니다."},
    "UploadAudioResponse.status": {"enum": ["processing"], "example": "processing"},
    "UploadReferenceAssetFormRequest.kind": {
        "enum": ["voice", "pitch", "alignment", "background"],
        "example": "voice",
    },
    "UploadReferenceAssetResponse.token_revision": _count(4),
    "UploadReferenceAssetResponse.object_key": {"example": "references/1/voice"},
    "Account.language": {"enum": _LANGUAGES, "example": "ko"},
    "Account.name": _text(100, "다나"),
    "SignUpRequest.name": _text(100, "다나"),
    "SignUpRequest.password": _NEW_PASSWORD,
    # Empty for internal clients.
    "Tokens.session_id": {"example": JOB_ID},
    # Empty for changes of no account.
    "AuditEntry.account_id": {"example": JOB_ID},
    "CreateClientRequest.name": _text(100, "reports", required=True),
    "CreateClientResponse.client_id": _UUID,
    "UploadPictureResponse.content_type": _PICTURE_TYPE,
    "Picture.content_type": _PICTURE_TYPE,
    "Picture.url": {"example": "https://s3.example/sori/pictures/1?X-Amz-Signature=0"},
    "GetTusUploadOptionsRequest.upload_id": {"example": UPLOAD_ID},
}
"""JSON Schema keywords and an example, by field name or by message and field name."""

ALWAYS_SET = frozenset(
    {
        "Actor.create_time",
        "Actor.update_time",
        "Token.create_time",
        "Token.update_time",
        "Token.reference_assets",
        "Script.create_time",
        "Script.update_time",
        "ActorMatch.actor",
        "ActorMatch.match",
        "TokenMatch.token",
        "TokenMatch.match",
        "Analysis.create_time",
        "Analysis.update_time",
        "DispatchAttempt.start_time",
        "DispatchAttempt.end_time",
    }
)
"""Message fields that every response contains. The transcoder prints all primitive fields."""

ANALYSIS_OUTPUT_FIELDS = frozenset(
    {
        "AnalysisResult.result",
        "AnalysisProgress.result",
        "Analysis.result",
        "AnalysisReport.analysis_results",
    }
)
"""Fields with the result of the analysis server."""

REASON_STATUSES: Mapping[str, int] = {
    "INTERNAL_ERROR": 500,
    "INVALID_FIELD": 400,
    "DATABASE_UNAVAILABLE": 503,
    "STORAGE_UNAVAILABLE": 503,
    "CATALOG_UNAVAILABLE": 503,
    "ANALYSIS_UNAVAILABLE": 503,
    "SHUTTING_DOWN": 503,
    "ACTOR_NOT_FOUND": 404,
    "TOKEN_NOT_FOUND": 404,
    "SCRIPT_NOT_FOUND": 404,
    "JOB_NOT_FOUND": 404,
    "UPLOAD_NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ETAG_MISMATCH": 409,
    "ACTOR_IN_USE": 409,
    "TOKEN_IN_USE": 409,
    "REQUEST_ID_REUSED": 422,
    "REQUEST_SUPERSEDED": 409,
    "JOB_ENDED": 400,
    "ANALYSIS_ENDED": 400,
    "ANALYSIS_NOT_FAILED": 400,
    "RECORDING_MISSING": 400,
    "SIGNATURE_MISSING": 401,
    "SIGNATURE_INVALID": 403,
    "EMPTY_RECORDING": 400,
    "INCOMPLETE_UPLOAD": 400,
    "SIZE_MISMATCH": 400,
    "CHECKSUM_MISMATCH": 400,
    "UNSUPPORTED_AUDIO": 415,
    "UNSUPPORTED_ASSET": 415,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "EMPTY_PICTURE": 400,
    "UNSUPPORTED_PICTURE": 415,
    "PICTURE_TOO_LARGE": 413,
    "ACCOUNTS_UNAVAILABLE": 503,
    "RECORDING_TOO_LARGE": 413,
    "RECORDING_TOO_LONG": 413,
    "UPLOAD_IDLE": 408,
    "UPLOAD_IS_FINAL": 403,
    "UPLOAD_OFFSET_AHEAD": 409,
    "UPLOAD_OFFSET_BEHIND": 409,
    "UPLOAD_SUPERSEDED": 409,
    "UPLOAD_INCOMPLETE": 409,
    "UPLOAD_ENDED": 410,
    "UPLOAD_LOST": 410,
    "TUS_VERSION_UNSUPPORTED": 412,
    "CHUNK_CHECKSUM_MISMATCH": 460,
    "TOO_MANY_OPEN_UPLOADS": 429,
    "DAILY_BYTES_EXCEEDED": 429,
    "TOO_MANY_CALLS": 503,
    "TOO_MANY_JOBS": 429,
    "TOO_MANY_WATCHES": 429,
    "WATCHES_EXHAUSTED": 503,
    "REQUEST_MALFORMED": 400,
    "REPORT_MALFORMED": 400,
    "REPORT_TOO_LARGE": 413,
    "RESULT_UNREADABLE": 400,
    "CREDENTIALS_MISSING": 401,
    "CREDENTIALS_INVALID": 401,
    "ROLE_MISSING": 403,
    "EMAIL_UNVERIFIED": 403,
    "SECOND_FACTOR_REQUIRED": 401,
    "PASSKEY_INVALID": 401,
    "PASSKEY_REFUSED": 400,
    "TOO_MANY_PASSKEYS": 400,
    "ID_TOKEN_INVALID": 401,
    "LOGIN_STATE_INVALID": 401,
    "SESSION_ENDED": 401,
    "MAIL_TOKEN_INVALID": 400,
    "PASSWORD_REFUSED": 400,
    "TOTP_CODE_INVALID": 400,
    "PROVIDER_NOT_FOUND": 404,
    "ACCOUNT_NOT_FOUND": 404,
    "ERASURE_NOT_FOUND": 404,
    "TOO_MANY_ATTEMPTS": 429,
    "CROSS_SITE_REQUEST": 403,
    "PASSWORD_CHECKS_EXHAUSTED": 503,
    "SECOND_FACTOR_EXISTS": 400,
    "KEYS_UNAVAILABLE": 503,
    "PROVIDER_UNAVAILABLE": 503,
    "UPLOAD_UNAVAILABLE": 503,
}
"""The HTTP status of each reason. An operation may return those that its comment, or that of
its service, names."""

NEEDED_FIELDS: Mapping[str, str] = {
    "REQUEST_ID_REUSED": "request_id",
    "ETAG_MISMATCH": "etag",
    "JOB_NOT_FOUND": "job_id",
}
"""A reason in the comment of a service concerns only the methods with this request field."""

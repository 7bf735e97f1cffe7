"""Local replies: the errors that the gateway returns itself, one for each HTTP status."""

from __future__ import annotations

from dataclasses import dataclass

from google.rpc import code_pb2


@dataclass(frozen=True)
class LocalReply:
    """A `google.rpc.Status` that replaces Envoy's own text.

    http_status: Envoy's status that it replaces; 0 for any other failure.
    code: a gRPC status code.
    reason: for clients to decide by.
    message: the text for developers; may contain command operators of Envoy.
    retry_after_seconds: the header `retry-after`; 0 omits it.
    challenge: the header `www-authenticate`; empty omits it.
    korean, english: the sentences for the learner; empty for errors of programs.
    without_account: only for callers without an account.
    sent_as: the status that clients receive; 0 for `http_status`.
    for_unparsed: only for requests that Envoy can't parse; they have no path.
    """

    http_status: int
    code: int
    reason: str
    message: str
    retry_after_seconds: int = 0
    sent_as: int = 0
    for_unparsed: bool = False
    without_account: bool = False
    challenge: str = ""
    korean: str = ""
    english: str = ""


_NO_RESPONSE = "The service does not respond at the moment. Try again in a few seconds."

LOCAL_REPLIES = (
    # Envoy can't parse the request: most often, its URL has raw bytes of Korean text.
    LocalReply(
        400,
        code_pb2.INVALID_ARGUMENT,
        "REQUEST_MALFORMED",
        "The request is not valid HTTP. In the URL, percent-encode the UTF-8 bytes of every"
        " character outside ASCII: %%EA%%B0%%80 for 가.",
        for_unparsed=True,
    ),
    LocalReply(
        400,
        code_pb2.INVALID_ARGUMENT,
        "REQUEST_MALFORMED",
        # The transcoder's text names the field or the position in the JSON.
        "The request does not match the contract. Correct it and send it again. %LOCAL_REPLY_BODY%",
    ),
    LocalReply(
        401,
        code_pb2.UNAUTHENTICATED,
        "CREDENTIALS_INVALID",
        # The text of `identity.lua` is the advice.
        "The access token is invalid. %LOCAL_REPLY_BODY%",
        challenge='Bearer error="invalid_token"',
        korean="로그인이 만료되었거나 올바르지 않습니다. 다시 로그인해 주세요.",
        english="Your login has expired or is invalid. Log in again.",
    ),
    # The filter `rbac` refuses every call with 403.
    LocalReply(
        403,
        code_pb2.UNAUTHENTICATED,
        "CREDENTIALS_MISSING",
        "This call needs an access token. Log in (POST /auth/login), then send it as"
        " `Authorization: Bearer …`.",
        sent_as=401,
        without_account=True,
        challenge="Bearer",
        korean="로그인이 필요합니다. 로그인한 뒤 다시 시도해 주세요.",
        english="You need to log in. Log in, then try again.",
    ),
    LocalReply(
        403,
        code_pb2.PERMISSION_DENIED,
        "ROLE_MISSING",
        "This call needs a role that the account does not have. Ask an operator to grant it.",
        korean="이 작업을 할 권한이 없습니다. 운영자에게 문의해 주세요.",
        english="You are not allowed to do this. Ask an operator for access.",
    ),
    LocalReply(
        404,
        code_pb2.NOT_FOUND,
        "PATH_NOT_FOUND",
        "This path does not exist for this method. Check both against the contract.",
    ),
    LocalReply(
        405,
        code_pb2.UNIMPLEMENTED,
        "METHOD_NOT_ALLOWED",
        "This path does not accept this method. The header `allow` lists those that it accepts.",
    ),
    LocalReply(
        408,
        code_pb2.DEADLINE_EXCEEDED,
        "REQUEST_TIMEOUT",
        "The request stopped arriving. Check the connection and send it again.",
    ),
    LocalReply(
        413,
        code_pb2.OUT_OF_RANGE,
        "BODY_TOO_LARGE",
        "The body is larger than this path accepts. Send a smaller one.",
    ),
    LocalReply(
        415,
        code_pb2.INVALID_ARGUMENT,
        "MEDIA_TYPE_NOT_SUPPORTED",
        "This path accepts JSON only. Send it with the header `content-type: application/json`.",
    ),
    LocalReply(
        429,
        code_pb2.RESOURCE_EXHAUSTED,
        "TOO_MANY_REQUESTS",
        "This address sends too many requests. Send fewer, and try again in a second.",
        retry_after_seconds=1,
    ),
    LocalReply(
        431,
        code_pb2.INVALID_ARGUMENT,
        "HEADERS_TOO_LARGE",
        "The request has too many or too large headers. Send fewer.",
    ),
    LocalReply(
        503,
        code_pb2.UNAVAILABLE,
        "SERVICE_UNAVAILABLE",
        _NO_RESPONSE,
        retry_after_seconds=2,
    ),
    # Envoy returns 507 for a body that is too large to be sent to another replica.
    LocalReply(
        507,
        code_pb2.UNAVAILABLE,
        "SERVICE_UNAVAILABLE",
        _NO_RESPONSE,
        retry_after_seconds=2,
        sent_as=503,
    ),
    LocalReply(
        504,
        code_pb2.DEADLINE_EXCEEDED,
        "SERVICE_TIMEOUT",
        "The service took too long to respond. Try again in a few seconds.",
        retry_after_seconds=2,
    ),
    LocalReply(
        0,
        code_pb2.INTERNAL,
        "GATEWAY_ERROR",
        "The gateway could not forward the request. Try again, and report the x-request-id if it"
        " keeps failing.",
    ),
)

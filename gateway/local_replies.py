"""What the gateway says itself, when no service has answered: one sentence a status."""

from __future__ import annotations

from dataclasses import dataclass

from google.rpc import code_pb2


@dataclass(frozen=True)
class LocalReply:
    """What is said instead of Envoy's own words, as a `google.rpc.Status`.

    http_status: the status it is said for; 0 for any other failure.
    sent_as: the status it is sent with; 0 for the same.
    retry_after_seconds: hint for clients when to try again; 0 for none.
    """

    http_status: int
    code: int
    reason: str
    message: str
    retry_after_seconds: int = 0
    sent_as: int = 0


_NO_ANSWER = "The service does not answer at the moment. Try again in a few seconds."

LOCAL_REPLIES = (
    LocalReply(
        400,
        code_pb2.INVALID_ARGUMENT,
        "REQUEST_MALFORMED",
        # The transcoder's own words name the field or the place in the JSON.
        "The request does not fit the contract, correct it and send it again. %LOCAL_REPLY_BODY%",
    ),
    LocalReply(
        404,
        code_pb2.NOT_FOUND,
        "PATH_NOT_FOUND",
        "There is nothing at this path for this method. Check both against the contract.",
    ),
    LocalReply(
        405,
        code_pb2.UNIMPLEMENTED,
        "METHOD_NOT_ALLOWED",
        "This path does not take this method. Check it against the contract.",
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
        "The body is larger than this path takes. Send a smaller one.",
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
        _NO_ANSWER,
        retry_after_seconds=2,
    ),
    # Envoy's word for a body that grew too large to be sent to yet another replica.
    LocalReply(
        507,
        code_pb2.UNAVAILABLE,
        "SERVICE_UNAVAILABLE",
        _NO_ANSWER,
        retry_after_seconds=2,
        sent_as=503,
    ),
    LocalReply(
        504,
        code_pb2.DEADLINE_EXCEEDED,
        "SERVICE_TIMEOUT",
        "The service took too long to answer. Try again in a few seconds.",
        retry_after_seconds=2,
    ),
    LocalReply(
        0,
        code_pb2.INTERNAL,
        "GATEWAY_ERROR",
        "The gateway could not pass the request on. Try again, and report the x-request-id if it"
        " stays so.",
    ),
)

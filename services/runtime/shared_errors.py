"""Errors that several services raise with the same meaning."""

from __future__ import annotations

from grpc import StatusCode

from services.runtime.errors import SoriError

JOBS_RETRY_SECONDS = 10
"""An analysis usually ends in less."""

WATCH_RETRY_SECONDS = 2
"""Watches end at any time, so a client tries again soon."""


class TokenNotFound(
    SoriError,
    code=StatusCode.NOT_FOUND,
    developer="Token {token_id} does not exist. Use the id of an existing token.",
    korean="{token_id}번 토큰이 없습니다. 번호를 확인해 주세요.",
    english="Token {token_id} does not exist. Check its number.",
):
    """The token does not exist; metadata: token_id, or several ids separated by commas."""


class JobEnded(
    SoriError,
    code=StatusCode.FAILED_PRECONDITION,
    developer="Job {job_id} has ended and accepts no recording. Upload again.",
    korean="이미 끝난 작업입니다. 다시 업로드해 주세요.",
    english="This analysis has already ended. Upload again.",
):
    """A recording arrived for a job that has failed or was cancelled; metadata: job_id."""


class RequestIdReused(
    SoriError,
    code=StatusCode.INVALID_ARGUMENT,
    developer="This request id belongs to a different request. Use a new one.",
    korean="이미 다른 요청에 쓰인 요청 번호입니다. 새 요청 번호를 써 주세요.",
    english="This request number belongs to a different request. Use a new one.",
    http_status=422,
):
    """A request id arrived again with a different recording or different content."""


class RequestSuperseded(
    SoriError,
    code=StatusCode.ABORTED,
    developer="A newer request with the same request id replaced this one. Wait for its answer.",
    korean="같은 요청의 새 업로드가 시작되어 이 업로드는 중단되었습니다.",
    english="A newer upload of the same request replaced this one.",
):
    """A repeated request uploads the recording instead of this one."""


class AnalysisUnavailable(
    SoriError,
    code=StatusCode.UNAVAILABLE,
    developer="The analysis service does not respond. Retry in a few seconds.",
    korean="잠시 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is temporarily unavailable. Try again in a few seconds.",
):
    """The analysis service does not respond."""


class TooManyJobs(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer=(
        "This owner has {limit} analyses under way, which is the limit. Retry when some have ended."
    ),
    korean="진행 중인 분석이 너무 많습니다. 잠시 후 다시 시도해 주세요.",
    english="Too many of your analyses are under way. Try again in a moment.",
):
    """An owner has as many analyses under way as one owner may have; metadata: limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.retry_seconds = JOBS_RETRY_SECONDS


class TooManyWatches(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer="This client already has {limit} watches. Close one, then try again.",
    korean="동시에 열 수 있는 연결 수를 넘었습니다. 잠시 후 다시 시도해 주세요.",
    english="Too many watches are open at the same time. Try again in a moment.",
):
    """A client has as many watches as one client may have; metadata: limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.retry_seconds = WATCH_RETRY_SECONDS


class WatchesExhausted(
    SoriError,
    code=StatusCode.RESOURCE_EXHAUSTED,
    developer="This server has {limit} watches, which is its limit. Retry in {seconds} s.",
    korean="잠시 이용자가 많습니다. 잠시 후 다시 시도해 주세요.",
    english="The service is busy. Try again in a moment.",
    http_status=503,
):
    """All clients together have as many watches as a process serves; metadata: limit, seconds."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit, seconds=WATCH_RETRY_SECONDS)
        self.retry_seconds = WATCH_RETRY_SECONDS


class CredentialsMissing(
    SoriError,
    code=StatusCode.UNAUTHENTICATED,
    developer=(
        "This call needs an access token. Log in (POST /auth/login), then send it as "
        "`Authorization: Bearer …`."
    ),
    korean="로그인이 필요합니다. 로그인한 뒤 다시 시도해 주세요.",
    english="You need to log in. Log in, then try again.",
):
    """The caller has no account, and the rpc does not admit guests."""


class RoleMissing(
    SoriError,
    code=StatusCode.PERMISSION_DENIED,
    developer='This call needs the role "{role}". Ask an operator to grant it.',
    korean="이 작업을 할 권한이 없습니다. 운영자에게 문의해 주세요.",
    english="You are not allowed to do this. Ask an operator for access.",
):
    """The caller lacks a role; metadata: role; "internal" if only services may call."""

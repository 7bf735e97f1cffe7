"""When and how often an HTTP call is tried again."""

from __future__ import annotations

from http import HTTPStatus

import httpx
import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

_log = structlog.get_logger(__name__)


class Unsettled(Exception):
    """The other side answered 429 or 5xx: a later attempt may succeed."""


def check_settled(response: httpx.Response) -> None:
    """Raise Unsettled for an answer that another attempt may improve."""
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error:
        raise Unsettled(f"answered {response.status_code}")


def attempts(most: int, first_pause: float, longest_pause: float) -> AsyncRetrying:
    """At most this many attempts, at Unsettled and where no answer comes.

    Pauses, in seconds, are exponential with full jitter: uniform between 0 and
    `first_pause` * 2^(attempt - 1), at most `longest_pause`. The last error is
    raised.
    """
    return AsyncRetrying(
        stop=stop_after_attempt(most),
        wait=wait_random_exponential(multiplier=first_pause, max=longest_pause),
        retry=retry_if_exception_type((httpx.TransportError, Unsettled)),
        before_sleep=_log_failed_attempt,
        reraise=True,
    )


def _log_failed_attempt(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("attempt failed", attempt=state.attempt_number, error=describe(error))


def describe(error: BaseException | None) -> str:
    """What may be logged of an error: httpx puts signed URLs into some messages."""
    return str(error) if isinstance(error, Unsettled) else type(error).__name__

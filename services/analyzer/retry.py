"""Retries of HTTP calls."""

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


class TransientError(Exception):
    """The other server responded with 429 or 5xx: a later attempt may succeed."""


def raise_for_transient(response: httpx.Response) -> None:
    """Raise TransientError if another attempt may get a better response."""
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error:
        raise TransientError(f"answered {response.status_code}")


def retrying(max_attempts: int, first_pause: float, max_pause: float) -> AsyncRetrying:
    """Retries calls that raise TransientError or get no response.

    Pauses, in seconds, are exponential with full jitter: uniform between 0 and
    `first_pause` * 2^(attempt - 1), at most `max_pause`. Raises the error of the last attempt.
    """
    return AsyncRetrying(
        stop=stop_after_attempt(max_attempts),
        wait=wait_random_exponential(multiplier=first_pause, max=max_pause),
        retry=retry_if_exception_type((httpx.TransportError, TransientError)),
        before_sleep=_log_failed_attempt,
        reraise=True,
    )


def _log_failed_attempt(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("attempt failed", attempt=state.attempt_number, error=describe(error))


def describe(error: BaseException | None) -> str:
    """The loggable part of an error. Some messages of httpx contain signed URLs."""
    return str(error) if isinstance(error, TransientError) else type(error).__name__

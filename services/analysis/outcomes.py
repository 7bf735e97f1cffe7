"""Outcomes of a worker's call to the analysis server: a dispatch or a look at a status URL.

No I/O. `decisions.decide` turns an outcome into what happens to the job.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from services.analysis.reports import Failure, Progress, Results


class Fault(Enum):
    """Which side failed, when a dispatch fails for now."""

    OURS = auto()
    """The request was not sent: the catalog or S3 did not respond."""
    UNREACHED = auto()
    """No connection to the analysis server, so it has not seen the job."""
    SERVERS = auto()
    """The analysis server may have seen the job."""


@dataclass(frozen=True)
class Accepted:
    """The analysis server accepted the job and will report.

    status_url: where its status can be read meanwhile; None when there is no such URL.
    """

    status_url: str | None


@dataclass(frozen=True)
class TransientFailure:
    """The dispatch failed, but a later one may succeed.

    error: for the history. pause: how long the analysis server asked to wait
    (`Retry-After`); default: it did not ask.
    """

    error: str
    fault: Fault
    pause: timedelta = timedelta(0)


@dataclass(frozen=True)
class PermanentFailure:
    """The dispatch failed, and so would every later one.

    reason: the job's failure reason. error: for the history. answered: whether the
    analysis server responded.
    """

    reason: str
    error: str
    answered: bool = True


@dataclass(frozen=True)
class WorkersDied:
    """The job used up its attempts, and no worker survived the last one."""


@dataclass(frozen=True)
class NoReport:
    """The job's status is unknown: it has no status URL, or the URL gave no report."""


Outcome = (
    Accepted
    | TransientFailure
    | PermanentFailure
    | WorkersDied
    | NoReport
    | Results
    | Failure
    | Progress
)

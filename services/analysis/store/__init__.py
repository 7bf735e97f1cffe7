"""All SQL of the analysis service.

Every change of a job locks its row, checks whether the event is legal, and then writes:
of two racing events, only one changes the job. The hot path does this in one statement,
whose conditions `guards` generates from `jobs.TRANSITIONS`; changes of several jobs ask
`jobs.next_state`. Notifications follow after the commit, because transactions that
contain a NOTIFY commit one after the other.
"""

from __future__ import annotations

from services.analysis.store.deletions import Deletions
from services.analysis.store.expired_jobs import DELETION_DELAY, ExpiredJobs
from services.analysis.store.job_queue import JobQueue
from services.analysis.store.job_reads import Filter, MayUse, everybody
from services.analysis.store.job_store import JobStore
from services.analysis.store.openings import AttachedRecording
from services.analysis.store.owned_jobs import OwnedJobs
from services.analysis.store.reuse import Reuse
from services.analysis.store.settlements import Settlement
from services.analysis.store.submission_statements import SUBMISSION_WINDOW
from services.analysis.store.submissions import Claimant, Submission
from services.analysis.store.transitions import OnTransition, Transition

__all__ = [
    "DELETION_DELAY",
    "SUBMISSION_WINDOW",
    "AttachedRecording",
    "Claimant",
    "Deletions",
    "ExpiredJobs",
    "Filter",
    "JobQueue",
    "JobStore",
    "MayUse",
    "OnTransition",
    "OwnedJobs",
    "Reuse",
    "Settlement",
    "Submission",
    "Transition",
    "everybody",
]

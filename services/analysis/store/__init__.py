"""All SQL of analyses.

Every change of a job locks its row, asks `jobs.next_state` whether the event is legal,
and writes, so that of two racing events only one moves the job. Those who are to
hear of it are told after the commit: a NOTIFY inside would make all commits of
the database wait for each other.
"""

from __future__ import annotations

from services.analysis.store.job_queue import JobQueue
from services.analysis.store.job_store import Attached, Filter, JobStore
from services.analysis.store.reuse import Reuse
from services.analysis.store.transitions import Changed, Transition

__all__ = ["Attached", "Changed", "Filter", "JobQueue", "JobStore", "Reuse", "Transition"]

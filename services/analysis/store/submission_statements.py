"""The statements of submissions: insert a job with its recording, and with its claim if it may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    Float,
    Interval,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    select,
)
from sqlalchemy.dialects import postgresql

from services.analysis.store.claims import is_waiting
from services.analysis.store.quotas import has_room
from services.analysis.store.reuse import donor_of, queued_or_completed
from services.analysis.store.rows import RECORDING_COLUMNS
from services.analysis.store.turns import advanced_clock, next_turn
from services.analysis.tables import jobs
from services.runtime.statements import Statement

SUBMISSION_WINDOW = timedelta(hours=1)
"""How long after its generation the id of a job can be submitted.

After that, a recording without a job was abandoned and can be deleted.
"""

# PostgreSQL's clock decides, as for every other time limit of jobs.
is_young = func.to_timestamp(bindparam("generated", type_=Float)) > func.now() - SUBMISSION_WINDOW


def _insert_with_recording() -> Any:
    """The statement that inserts a job with its recording.

    Returns its state, its result, and the lease token of its claim, NULL without one.
    It inserts nothing when the id is too old, when another job has it or the request id, or
    when the owner has as many jobs under way as it may have.
    """
    given = (
        *(jobs.c.job_id, jobs.c.token_id, jobs.c.owner_id, jobs.c.request_id),
        jobs.c.token_revision,
        *RECORDING_COLUMNS,
    )
    parameters = {column.name: bindparam(column.name, type_=column.type) for column in given}
    owner_id = parameters["owner_id"]
    donor = donor_of(parameters["sha256"], parameters["token_id"], owner_id)
    outcome = queued_or_completed(donor, bindparam("timeout", type_=Interval))
    claim = _claim_unless_others_wait(donor)
    values = {**parameters, **outcome, "turn": next_turn(owner_id), **_claimed(claim, outcome)}
    columns = (value.label(name) for name, value in values.items())
    source = select(*columns).select_from(claim).where(is_young, has_room(owner_id))
    insertion = postgresql.insert(jobs).from_select(list(values), source).on_conflict_do_nothing()
    returned = (jobs.c.state, jobs.c.result, jobs.c.lease_token, jobs.c.turn)
    inserted = insertion.returning(*returned).cte("inserted")
    is_claimed = inserted.c.lease_token.is_not(None)
    claimed = select(inserted.c.turn).where(is_claimed).cte("claimed")
    return select(
        *(inserted.c.state, inserted.c.result, inserted.c.lease_token),
        advanced_clock(claimed).label("clock"),
    )


def _claim_unless_others_wait(donor: CTE) -> CTE:
    """One row: whether the job is created with a claim.

    Not if a job waits: claims take the jobs in the order of their turns.
    """
    is_claimed = and_(
        bindparam("claiming_worker", type_=Text).is_not(None),
        ~exists(select(donor.c.job_id)),
        ~exists(select(jobs.c.job_id).where(is_waiting)),
    )
    return select(is_claimed.label("is_claimed")).cte("claim").prefix_with("MATERIALIZED")


def _claimed(claim: CTE, outcome: dict[str, Any]) -> dict[str, Any]:
    """The columns of the claim, as `claims.CLAIM` sets them."""
    is_claimed = claim.c.is_claimed
    lease_end = func.now() + bindparam("lease", type_=Interval)
    return {
        "lease_token": case((is_claimed, func.gen_random_uuid())),
        "worker": case((is_claimed, bindparam("claiming_worker", type_=Text)), else_=""),
        "due_time": case((is_claimed, lease_end), else_=outcome["due_time"]),
        "dispatches": case((is_claimed, 1), else_=0),
        "counted_attempts": case((is_claimed, 1), else_=0),
        "attempt_start_time": case((is_claimed, func.now())),
    }


INSERT = _insert_with_recording()
INSERTION = Statement(INSERT)

DELETION_OF_REUSED = Statement(
    delete(jobs)
    .where(jobs.c.job_id == bindparam("job_id", type_=Uuid), jobs.c.reused_job_id.is_not(None))
    .returning(jobs.c.job_id)
)

"""The retry decision: limits end every job, and only the analysis server's attempts count."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from services.analysis.decisions import (
    MAX_BACKOFF_SECONDS,
    AwaitReport,
    Complete,
    Decision,
    Fail,
    KeepWaiting,
    Limits,
    Postpone,
    Redispatch,
    backoff,
    decide,
    may_dispatch,
)
from services.analysis.jobs import AttemptOutcome, Claim, Event, State, next_state
from services.analysis.outcomes import (
    Accepted,
    Fault,
    NoReport,
    Outcome,
    PermanentFailure,
    TransientFailure,
    WorkersDied,
)
from services.analysis.reports import Failure, Progress, Results

JOB_ID = UUID("01a20810-e3b2-705b-90e5-b52e27a5d578")
RESULTS = Results(b"result", "1")
BROKEN = TransientFailure("answered 503", Fault.SERVERS)
MAX_ROUNDS = 100

pauses = st.timedeltas(timedelta(0), timedelta(minutes=10))
jitters = st.floats(0, 1)
limits = st.builds(Limits, st.integers(1, 20), st.integers(0, 5), st.floats(0.01, 10))
claims = st.builds(
    Claim,
    job_id=st.just(JOB_ID),
    token_id=st.just(1),
    state=st.sampled_from([State.QUEUED, State.DISPATCHED]),
    object_key=st.just("recordings/1/x"),
    lease_token=st.just(JOB_ID),
    dispatches=st.integers(1, 100),
    counted_attempts=st.integers(1, 25),
    silences=st.integers(0, 6),
    deadline_passed=st.booleans(),
    status_url=st.none() | st.just("http://server/1"),
    token_revision=st.integers(0, 10),
)
transient_failures = st.builds(
    TransientFailure, st.just("error"), st.sampled_from(Fault), pause=pauses
)
dispatch_outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(RESULTS),
    st.just(Failure("SILENT_AUDIO", "no voice")),
    st.just(PermanentFailure("TOKEN_NOT_FOUND", "the token was deleted", answered=False)),
    st.just(WorkersDied()),
    st.sampled_from([Accepted(None), Accepted("http://server/1")]),
    transient_failures,
)
status_outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(RESULTS),
    st.just(Failure("SILENT_AUDIO", "no voice")),
    st.builds(Progress, st.floats(0, 100), st.just("stage")),
    st.just(NoReport()),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Outcome, Claim]:
    """A claim, and an outcome that its state allows."""
    claim = draw(claims)
    of_dispatch = claim.state is State.QUEUED
    return draw(dispatch_outcomes if of_dispatch else status_outcomes), claim


def event_of(decision: Decision) -> Event | None:
    """The event that the job queue applies for a decision; None when the state stays."""
    match decision:
        case Complete():
            return Event.RESULTS_REPORTED
        case Fail(event=event):
            return event
        case AwaitReport():
            return Event.DISPATCH_ACCEPTED
        case Redispatch():
            return Event.REPORT_OVERDUE
        case Postpone() | KeepWaiting():
            return None


@given(situations(), limits, jitters)
def test_every_decision_is_legal_in_the_state_of_the_job(
    situation: tuple[Outcome, Claim], limits: Limits, jitter: float
) -> None:
    outcome, claim = situation
    event = event_of(decide(outcome, claim, limits, jitter))
    assert event is None or next_state(claim.state, event) is not None


@given(claims, limits, jitters)
def test_results_always_complete(claim: Claim, limits: Limits, jitter: float) -> None:
    assert decide(RESULTS, claim, limits, jitter) == Complete(RESULTS)


@given(claims, limits, jitters)
def test_a_reported_failure_always_fails(claim: Claim, limits: Limits, jitter: float) -> None:
    decision = decide(Failure("SILENT_AUDIO", "no voice"), claim, limits, jitter)
    assert isinstance(decision, Fail)
    assert (decision.reason, decision.message) == ("SILENT_AUDIO", "no voice")


@given(claims, transient_failures, limits, jitters)
def test_only_a_failure_that_the_server_may_have_seen_is_counted(
    claim: Claim, failure: TransientFailure, limits: Limits, jitter: float
) -> None:
    decision = decide(failure, claim, limits, jitter)
    if failure.fault is Fault.SERVERS:
        assert isinstance(decision, Fail) or decision.is_counted  # type: ignore[union-attr]
    else:
        assert isinstance(decision, Postpone)
        assert not decision.is_counted


@given(claims, transient_failures, limits, jitters)
def test_a_pause_is_at_least_what_the_server_asked_for_and_bounded(
    claim: Claim, failure: TransientFailure, limits: Limits, jitter: float
) -> None:
    claim = replace(claim, counted_attempts=min(claim.counted_attempts, limits.max_attempts))
    assume(failure.fault is not Fault.SERVERS or claim.counted_attempts < limits.max_attempts)
    decision = decide(failure, claim, limits, jitter)
    assert isinstance(decision, Postpone)
    longest = max(failure.pause, timedelta(seconds=MAX_BACKOFF_SECONDS))
    assert failure.pause <= decision.pause <= longest


@given(st.integers(1, 1000), st.floats(0.01, 10))
def test_the_backoff_grows_up_to_a_minute(failed_attempts: int, first_seconds: float) -> None:
    this, following = (
        backoff(failed_attempts, first_seconds),
        backoff(failed_attempts + 1, first_seconds),
    )
    assert timedelta(0) < this <= following <= timedelta(seconds=MAX_BACKOFF_SECONDS)


@given(claims, limits)
def test_a_job_may_be_dispatched_until_its_attempts_are_used_up(
    claim: Claim, limits: Limits
) -> None:
    assert may_dispatch(claim, limits) is (claim.counted_attempts <= limits.max_attempts)


@given(limits, jitters)
def test_a_job_whose_workers_always_die_ends(limits: Limits, jitter: float) -> None:
    claim = first_claim()
    rounds = 0
    while may_dispatch(claim, limits):
        rounds += 1
        claim = claimed_again(claim)
    assert rounds == limits.max_attempts
    decision = decide(WorkersDied(), claim, limits, jitter)
    assert isinstance(decision, Fail)
    assert decision.reason == "ANALYSIS_SERVER_UNAVAILABLE"


@given(limits, jitters)
def test_a_server_that_always_fails_ends_the_job_after_its_attempts(
    limits: Limits, jitter: float
) -> None:
    claim = first_claim()
    for number in range(1, MAX_ROUNDS):
        decision = decide(BROKEN, claim, limits, jitter)
        if isinstance(decision, Fail):
            assert number == limits.max_attempts
            assert decision.reason == "ANALYSIS_SERVER_UNAVAILABLE"
            return
        claim = claimed_again(claim)
    raise AssertionError("the job never ended")


@given(limits, jitters)
def test_a_server_that_never_reports_ends_the_job_after_its_silences(
    limits: Limits, jitter: float
) -> None:
    claim = first_claim()
    for number in range(1, MAX_ROUNDS):
        assert isinstance(decide(Accepted(None), claim, limits, jitter), AwaitReport)
        silent = replace(claim, state=State.DISPATCHED, deadline_passed=True)
        decision = decide(NoReport(), silent, limits, jitter)
        if isinstance(decision, Fail):
            assert number == min(limits.max_silences + 1, limits.max_attempts)
            assert decision.reason == "ANALYSIS_TIMED_OUT"
            assert decision.attempt_outcome is AttemptOutcome.SILENT
            return
        assert decision == Redispatch()
        claim = replace(claimed_again(claim), silences=claim.silences + 1)
    raise AssertionError("the job never ended")


@given(claims, limits, jitters)
def test_before_the_deadline_progress_is_shown_and_silence_awaited(
    claim: Claim, limits: Limits, jitter: float
) -> None:
    waiting = replace(claim, state=State.DISPATCHED, deadline_passed=False)
    progress = Progress(50, "half")
    assert decide(progress, waiting, limits, jitter) == KeepWaiting(progress)
    assert decide(NoReport(), waiting, limits, jitter) == KeepWaiting(None)


@given(claims, limits, jitters)
def test_after_the_deadline_progress_is_as_good_as_silence(
    claim: Claim, limits: Limits, jitter: float
) -> None:
    overdue = replace(claim, state=State.DISPATCHED, deadline_passed=True)
    of_progress = decide(Progress(50, "half"), overdue, limits, jitter)
    assert of_progress == decide(NoReport(), overdue, limits, jitter)


def first_claim() -> Claim:
    return Claim(
        job_id=JOB_ID,
        token_id=1,
        state=State.QUEUED,
        object_key="recordings/1/x",
        lease_token=JOB_ID,
        dispatches=1,
        counted_attempts=1,
        silences=0,
        deadline_passed=False,
        status_url=None,
        token_revision=1,
    )


def claimed_again(claim: Claim) -> Claim:
    """The next claim of a job, after a dispatch that was counted."""
    return replace(
        claim,
        dispatches=claim.dispatches + 1,
        counted_attempts=claim.counted_attempts + 1,
    )

"""Logins: how many a second, and how long reads of the catalog take meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from bench.learners import ENVIRONMENT, PASSWORD, sign_up
from bench.load import drive, logins
from bench.rig import Rig, rig
from bench.rows import Row, Rows, alternate, at_most, at_most_times, median
from bench.scale import Scale

LEARNERS = 16
LOAD = "bench.load.logins"


def measure(scale: Scale) -> list[Row]:
    """Reads alone, and while learners log in."""
    with rig(ENVIRONMENT) as machine:
        learners = sign_up(machine.stack.gateway_url, LEARNERS)
        emails = [learner.email for learner in learners]
        results = alternate(
            scale.rounds,
            {
                "with": sending(machine, scale, emails),
                "without": sending(machine, scale, []),
            },
        )
    return rows_of(results)


def sending(machine: Rig, scale: Scale, emails: list[str]) -> Callable[[], logins.Result]:
    """A measurement with logins of these learners."""
    port, pids = machine.stack.settings.gateway_port, machine.ours.pids
    settings = logins.Settings(port, emails, PASSWORD, scale.read_seconds, pids)
    return lambda: drive(LOAD, settings, logins.Result)


def rows_of(results: dict[str, list[logins.Result]]) -> list[Row]:
    """The rows of this section."""
    rows = Rows("logins")
    rows.add("logins", "/s", median(results["with"], lambda r: r.logins_per_second))
    rows.add("login p50, 16 at once", "ms", median(results["with"], lambda r: r.login_p50_ms))
    rows.add("CPU of accounts for a login", "ms", median(results["with"], accounts_ms))
    quiet = median(results["without"], lambda r: r.read_p50_ms)
    busy = median(results["with"], lambda r: r.read_p50_ms)
    rows.add("GetToken p50 while logins hash", "ms", busy, peer=quiet, peer_name="without")
    quiet = median(results["without"], lambda r: r.read_p99_ms)
    busy = median(results["with"], lambda r: r.read_p99_ms)
    goal = at_most_times(1.5) if quiet > BELOW_NOISE_MS else at_most(2 * BELOW_NOISE_MS)
    rows.add("GetToken p99 while logins hash", "ms", busy, goal, peer=quiet, peer_name="without")
    return rows.all


BELOW_NOISE_MS = 10.0
"""Of a p99; the ratio of shorter ones is that of single hiccups of the machine."""


def accounts_ms(result: logins.Result) -> float:
    """CPU milliseconds of the accounts service for one login."""
    return result.cpu_ms["accounts"]

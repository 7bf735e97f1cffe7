"""Takes of accounts next to takes of guests and of callers without an identity."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

from bench.learners import ENVIRONMENT, sign_up
from bench.load import drive, takes
from bench.rig import Rig, rig
from bench.rows import Row, Rows, alternate, at_most_times, median
from bench.scale import Scale
from bench.sections.takes import AT_ONCE, LOAD, cpu_ms, program_cpu_ms
from services.runtime.callers import new_guest_token

ROUNDS = 3
"""How many times as many rounds as elsewhere: the difference is a small part of a take."""


def measure(scale: Scale) -> list[Row]:
    """Alternating rounds of each kind of caller, 16 takes at once."""
    with rig(ENVIRONMENT) as machine:
        # One of each, because the limits per client cost a row for each account and address.
        (learner,) = sign_up(machine.stack.gateway_url, 1)
        callers = {
            "account": learner.headers,
            "guest": {"X-Guest-Token": new_guest_token()},
            "no identity": {},
        }
        results = alternate(
            ROUNDS * scale.rounds,
            {name: sending(machine, scale, headers) for name, headers in callers.items()},
        )
    return rows_of(results)


def sending(machine: Rig, scale: Scale, headers: dict[str, str]) -> Callable[[], takes.Result]:
    """A measurement of takes with these headers."""
    settings = takes.Settings(
        port=machine.stack.settings.gateway_port,
        analysis_port=machine.analysis_port,
        takes=scale.takes,
        at_once=AT_ONCE,
        pids=machine.ours.pids,
        warm_up=min(scale.takes, 50),
        headers=headers,
    )
    return lambda: drive(LOAD, settings, takes.Result)


def rows_of(results: dict[str, list[takes.Result]]) -> list[Row]:
    """The rows of this section."""
    rows = Rows("authenticated_takes")
    account, guest, nobody = (
        median(results[name], cpu_ms) for name in ("account", "guest", "no identity")
    )
    name = "CPU of all servers for a take of an account"
    rows.add(name, "ms", account, at_most_times(1.03), peer=guest, peer_name="guest")
    rows.add(f"{name}, next to none", "ms", account, peer=nobody, peer_name="no identity")
    pairs = zip(results["account"], results["guest"], strict=True)
    extra = statistics.median(cpu_ms(ours) - cpu_ms(theirs) for ours, theirs in pairs)
    rows.add("median of the differences to a guest in the same round", "ms", extra)
    for program in results["account"][0].cpu_ms:
        spent = partial(program_cpu_ms, program=program)
        ours, theirs = (median(results[name], spent) for name in ("account", "guest"))
        name = f"CPU of {program} for a take of an account"
        rows.add(name, "ms", ours, peer=theirs, peer_name="guest")
    return rows.all

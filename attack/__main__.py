"""`python -m attack [NAME …]`: run the attacks whose names contain one of the words, or all."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attack.answers import SLOW_SECONDS
from attack.bystander import Bystander, bystander
from attack.memory import peaks
from attack.model import Attack, Outcome, Verdict
from attack.registry import ATTACKS
from attack.target import ENVIRONMENTS, Target, memory_limits_mib, targets
from stack.stack import Stack

ATTACK_SECONDS = 30.0
"""How long one attack may take; a longer one has failed."""
TARGET_SECONDS = 180.0
"""How long all attacks on one stack may take; the rest is not run, and fails."""
RECOVERY_SECONDS = 5.0
"""How long a target may need to serve others as before an attack."""
_ATTACKERS_NICENESS = 10
_LIMITED = "limits of deploy/k8s/base"

console = Console()


def main() -> int:
    """Attack every target. Returns 1 if an attack did not pass."""
    parser = argparse.ArgumentParser(prog="python -m attack", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all attacks")
    parser.add_argument("--target", choices=ENVIRONMENTS, action="append")
    arguments = parser.parse_args()
    attacks = [
        attack
        for attack in ATTACKS
        if not arguments.names or any(name in attack.name for name in arguments.names)
    ]
    _allow_many_connections()
    passed = True
    for name in arguments.target or ENVIRONMENTS:
        with console.status(f"Starting the stack: {name}"):
            verdicts = list(_verdicts(name, attacks))
        console.print(_table(name, verdicts))
        passed = passed and all(verdict.passed for verdict in verdicts)
    return 0 if passed else 1


def _verdicts(name: str, attacks: Sequence[Attack]) -> Iterator[Verdict]:
    limits = memory_limits_mib() if name == _LIMITED else {}
    with targets(name) as (stack, server), bystander(stack.gateway_url) as other:
        began = time.monotonic()
        for number, attack in enumerate(attacks, start=1):
            target = Target(name, stack, server, _source(number))
            if time.monotonic() - began > TARGET_SECONDS:
                late = Outcome(f"not run within {TARGET_SECONDS:g} s", is_right=False)
                yield Verdict(attack, late, 0.0, 0, {})
                continue
            started = time.monotonic()
            verdict = _verdict(attack, target, other, limits)
            server.answer = None
            _recover(stack, other, verdict)
            seconds = time.monotonic() - started
            console.print(f"{name}: {attack.name} ({seconds:.0f} s)", style="dim", highlight=False)
            yield verdict


def _verdict(attack: Attack, target: Target, other: Bystander, limits: dict[str, int]) -> Verdict:
    other.waits()
    watched = tuple(name for name in limits if name in target.stack.programs)
    pids = {name: target.stack.pid(name) for name in target.stack.programs}
    with peaks(target.stack, watched) as largest:
        outcome = _outcome(attack, target)
        waits = other.waits()
    died = [name for name, pid in pids.items() if target.stack.pid(name) != pid]
    if died:
        outcome = Outcome(f"{outcome.seen}; died: {', '.join(died)}", is_right=False)
    over = {
        name: f"{name} {largest[name]} of {limits[name]} MiB"
        for name in watched
        if largest[name] > limits[name]
    }
    return Verdict(attack, outcome, waits.longest_ms, waits.failed, over)


def _recover(stack: Stack, other: Bystander, verdict: Verdict) -> None:
    """Wait until the target serves others again, and restart the programs that do not recover.

    A program over its memory limit is restarted, as Kubernetes would do.
    """
    _restart(stack, verdict.over_limit.keys())
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (waits := other.waits()).failed or waits.longest_ms > 1000 * SLOW_SECONDS:
        if time.monotonic() > deadline:
            _restart(stack, stack.service_programs)
            return


def _restart(stack: Stack, names: Collection[str]) -> None:
    for name in names:
        stack.kill(name)
    for name in names:
        stack.wait_ready(name)
        stack.wait_routed(name)


def _outcome(attack: Attack, target: Target) -> Outcome:
    """Run an attack; it fails if it does not end in time or meets an error."""
    outcomes: list[Outcome] = []

    def run() -> None:
        # An attacker has a machine of its own: here, the target gets the processors first. On
        # Linux, this thread and those it starts get the priority, not the process.
        os.setpriority(os.PRIO_PROCESS, 0, _ATTACKERS_NICENESS)
        try:
            outcomes.append(attack.run(target))
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            outcomes.append(Outcome(text, is_right=False))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ATTACK_SECONDS)
    return outcomes[0] if outcomes else Outcome(f"no end in {ATTACK_SECONDS:g} s", is_right=False)


def _source(number: int) -> str:
    """A loopback address for an attack. Only Linux has more than one without configuration."""
    return f"127.0.1.{number}" if sys.platform == "linux" else "127.0.0.1"


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _table(name: str, verdicts: Sequence[Verdict]) -> Table:
    table = Table("attack", "expected", "seen", title=f"Attacks on a stack: {name}")
    table.add_column("longest wait of another client (ms)", justify="right")
    table.add_column("pass")
    for verdict in verdicts:
        seen = [verdict.outcome.seen, *verdict.over_limit.values()]
        if verdict.failed_reads:
            seen.append(f"{verdict.failed_reads} reads of others failed")
        limit = verdict.attack.wait_limit_ms
        why = f" (up to {limit:g}: {verdict.attack.why})" if verdict.attack.why else ""
        table.add_row(
            verdict.attack.name,
            verdict.attack.expected,
            escape("; ".join(seen)),
            f"{verdict.longest_wait_ms:.0f}{why}",
            "[green]yes[/]" if verdict.passed else "[red]no[/]",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

"""Whether the time of an answer tells which e-mail addresses have an account: `make timing`.

Each call is sent for addresses with and without an account, in random order, and the two samples
are compared by the test of Mann and Whitney. A login at a provider is not compared: only the owner
of an address can log in with it.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from statistics import NormalDist, median
from uuid import uuid4

import asyncpg
import httpx
from rich.console import Console
from rich.table import Table

from stack.stack import Stack

PAIRS = 200
CLEAR_P = 1e-4
"""Samples of one distribution differ as much less often than once in 10,000 runs."""
_ENVIRONMENT = {
    "ACCOUNTS_EMAIL_VERIFICATION": "true",
    "ACCOUNTS_GUESSES_PER_ADDRESS": "0",
    "ACCOUNTS_MAILS_PER_ADDRESS": "0",
}
_PASSWORD, _WRONG = "tidal-lamp-orbit", "wrong-lamp-orbit"
_TIMEOUT_SECONDS = 30.0
# The account is copied, so that its password is hashed once.
_COPIES = """
INSERT INTO accounts.accounts SELECT copy.*
FROM accounts.accounts a, unnest($2::text[]) address, jsonb_populate_record(
    a, jsonb_build_object('account_id', gen_random_uuid(), 'email', address, 'email_verified', true)
) copy WHERE a.email = $1
"""

Send = Callable[[httpx.Client, str], httpx.Response]
CALLS: dict[str, Send] = {
    "login with a wrong password": lambda client, email: client.post(
        "/auth/login", json={"email": email, "password": _WRONG}
    ),
    "sign-up": lambda client, email: client.post(
        "/auth/signup", json={"email": email, "password": _PASSWORD}
    ),
    "request of a password reset": lambda client, email: client.post(
        "/auth/request-password-reset", json={"email": email}
    ),
    "another mail for the verification": lambda client, email: client.post(
        "/auth/resend-verification", json={"email": email}
    ),
}
"""The calls that must not tell whether an address has an account."""


@dataclass(frozen=True)
class Comparison:
    """The seconds of the answers for addresses with and without an account."""

    known: Sequence[float]
    unknown: Sequence[float]

    @property
    def superiority(self) -> float:
        """How often an answer for an account takes longer than another one; 0.5: no difference."""
        ordered = sorted(self.unknown)
        pairs = len(self.known) * len(self.unknown)
        wins = sum(_wins(ordered, seconds) for seconds in self.known)
        return wins / pairs

    @property
    def p(self) -> float:
        """The probability of such a difference by chance (Mann and Whitney, two-sided)."""
        sizes = len(self.known), len(self.unknown)
        deviation = math.sqrt((sum(sizes) + 1) / (12 * math.prod(sizes)))
        return 2 * NormalDist().cdf(-abs(self.superiority - 0.5) / deviation)

    @property
    def is_clear(self) -> bool:
        """Whether the times tell which addresses have an account."""
        return self.p < CLEAR_P


def _wins(ordered: Sequence[float], seconds: float) -> float:
    """How many values are smaller; equal ones count half."""
    smaller = sum(each < seconds for each in ordered)
    return smaller + ordered.count(seconds) / 2


def main() -> int:
    """Compare the calls on a stack of their own. Returns 1 if one has a clear difference."""
    parser = argparse.ArgumentParser(prog="python -m attack.timing", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="default: %(default)s")
    pairs = parser.parse_args().pairs
    with (
        tempfile.TemporaryDirectory(prefix="sori-timing-") as folder,
        Stack.on_free_ports(Path(folder), _ENVIRONMENT) as stack,
        httpx.Client(base_url=stack.gateway_url, timeout=_TIMEOUT_SECONDS) as client,
    ):
        known = [f"{uuid4()}@example.com" for _ in range(pairs)]
        _create_accounts(stack.database_url, client, known)
        compared = {name: _compare(client, send, known) for name, send in CALLS.items()}
    Console().print(_table(compared))
    return int(any(comparison.is_clear for comparison in compared.values()))


def _create_accounts(database_url: str, client: httpx.Client, emails: list[str]) -> None:
    """Create accounts with these addresses, all with the password of one that signs up."""
    first = f"{uuid4()}@example.com"
    client.post("/auth/signup", json={"email": first, "password": _PASSWORD}).raise_for_status()
    # A sign-up is stored when its mail is sent.
    while not asyncio.run(_copied(database_url, first, emails)):
        time.sleep(0.1)


async def _copied(database_url: str, first: str, emails: list[str]) -> bool:
    """Whether the account exists, and so its copies do."""
    connection = await asyncpg.connect(database_url)
    try:
        return str(await connection.execute(_COPIES, first, emails)) == f"INSERT 0 {len(emails)}"
    finally:
        await connection.close()


def _compare(client: httpx.Client, send: Send, known: Sequence[str]) -> Comparison:
    order = [(email, True) for email in known]
    order += [(f"{uuid4()}@example.com", False) for _ in known]
    SystemRandom().shuffle(order)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    answers = set()
    for email, is_known in order:
        began = time.perf_counter()
        answer = send(client, email)
        seconds[is_known].append(time.perf_counter() - began)
        answers.add((answer.status_code, answer.text))
    if len(answers) != 1:
        raise RuntimeError(f"the answers differ: {answers}")
    return Comparison(seconds[True], seconds[False])


def _table(compared: dict[str, Comparison]) -> Table:
    table = Table(title="Answers for addresses with and without an account")
    for title in ("call", "with (ms)", "without (ms)", "longer with", "p", "pass"):
        table.add_column(title)
    for name, comparison in compared.items():
        table.add_row(
            name,
            f"{1000 * median(comparison.known):.2f}",
            f"{1000 * median(comparison.unknown):.2f}",
            f"{100 * comparison.superiority:.0f} %",
            f"{comparison.p:.2g}",
            "[red]no[/]" if comparison.is_clear else "[green]yes[/]",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

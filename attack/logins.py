"""Floods of logins: from one address, and from many, so that passwords are hashed all the time."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from uuid import uuid4

import httpx

from attack.answers import Answers
from attack.model import Outcome
from attack.target import Target

_LOGINS_PER_MINUTE = 10_000
_SECONDS = 8.0
_CLIENTS = 32
_ADDRESSES = 64
_PASSWORD = "tidal-lamp-orbit"  # noqa: S105 (of a learner of this attack)
_NO_ANSWER = 0
"""Of a guess that waited until the attacker gave up: what it costs, it costs the attacker."""
_REFUSED = frozenset({_NO_ANSWER, 401, 429, 503})
_LEARNERS_ADDRESS = "127.0.0.7" if sys.platform == "linux" else "127.0.0.1"
_LEARNER_PAUSE_SECONDS = 0.5
_LEARNER_SECONDS = 3.0


def logins_of_one_address(target: Target) -> Outcome:
    """10,000 guesses a minute; meanwhile a learner logs in from another address."""
    email = _new_account(target)
    with _learner(target, email) as answers:
        statuses = _flood(target, email, [target.source])
    learner = answers.outcome(_LEARNER_SECONDS)
    seen = f"{_text(statuses)}; a learner logs in: {learner.seen}"
    return Outcome(seen, learner.is_right and statuses.keys() <= _REFUSED and 429 in statuses)


def logins_of_many_addresses(target: Target) -> Outcome:
    """As many guesses from 64 addresses: each is hashed until the queue is full."""
    email = _new_account(target)
    prefix, _, number = target.source.rpartition(".")
    sources = [target.source]
    if sys.platform == "linux":
        sources = [f"{prefix}.{int(number) + offset * 2}" for offset in range(_ADDRESSES)]
    statuses = _flood(target, email, sources)
    return Outcome(_text(statuses), statuses.keys() <= _REFUSED and statuses[401] > 0)


def _flood(target: Target, email: str, sources: list[str]) -> Counter[int]:
    """Guess passwords at the rate of the attack; returns how often each status came.

    Every other guess is for an address without an account.
    """
    statuses: Counter[int] = Counter()
    numbers, interval = count(), 60.0 / _LOGINS_PER_MINUTE

    def guess(client: httpx.Client) -> None:
        for number in numbers:
            due = began + number * interval
            if max(due, time.monotonic()) > began + _SECONDS:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            guessed = email if number % 2 else f"{uuid4()}@example.com"
            body = {"email": guessed, "password": f"guess-{number}"}
            try:
                statuses[client.post("/auth/login", json=body).status_code] += 1
            except httpx.HTTPError:
                statuses[_NO_ANSWER] += 1

    with ExitStack() as exits, ThreadPoolExecutor(max(_CLIENTS, len(sources))) as executor:
        clients = [
            exits.enter_context(target.http(sources[number % len(sources)]))
            for number in range(max(_CLIENTS, len(sources)))
        ]
        began = time.monotonic()
        for _ in executor.map(guess, clients):
            pass
    return statuses


@contextmanager
def _learner(target: Target, email: str) -> Iterator[Answers]:
    """A learner who logs in again and again while the context lasts."""
    answers, ended = Answers(), threading.Event()
    body = {"email": email, "password": _PASSWORD}

    def log_in() -> None:
        with target.http(_LEARNERS_ADDRESS) as client:
            while not ended.wait(_LEARNER_PAUSE_SECONDS):
                answers.http("login", lambda: client.post("/auth/login", json=body), {200})

    thread = threading.Thread(target=log_in)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


def _new_account(target: Target) -> str:
    """The e-mail address of a learner who has logged in once."""
    body = {"email": f"{uuid4()}@example.com", "password": _PASSWORD}
    with target.http(_LEARNERS_ADDRESS) as client:
        client.post("/auth/signup", json=body).raise_for_status()
        client.post("/auth/login", json=body).raise_for_status()
    return body["email"]


def _text(statuses: Counter[int]) -> str:
    return ", ".join(f"{number}× {status}" for status, number in sorted(statuses.items()))

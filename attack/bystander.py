"""Another client: a learner who sends ordinary reads in a process of their own, and waits."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from uuid import uuid4

import httpx

from attack.target import BYSTANDER_ADDRESS

_READS = ("/tokens/1", "/tokens?page_size=5", "/actors:search?query=reader", "/auth/me")
_PAUSE_SECONDS = 0.05
# Of the failure of a read, not of a wait that is too long.
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Waits:
    """The waits of the reads since the last measurement."""

    reads: int
    failed: int
    longest_ms: float


class Bystander:
    """The client, seen from the process that attacks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def waits(self) -> Waits:
        """What it has measured since the last call; a read that still runs is included."""
        self._connection.send(None)
        waits: Waits = self._connection.recv()
        return waits


@contextmanager
def bystander(base_url: str) -> Iterator[Bystander]:
    """A client that reads until the context ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_read, args=(base_url, theirs), daemon=True)
    process.start()
    ours.recv()
    try:
        yield Bystander(ours)
    finally:
        process.terminate()
        process.join()


def _read(base_url: str, connection: Connection) -> None:
    """Read in turn over a kept connection and over a new one."""
    headers = _credentials(base_url)
    kept = _client(base_url, headers)
    reads = failed = 0
    longest = 0.0
    connection.send("started")
    for number, path in enumerate(cycle(_READS)):
        began = time.perf_counter()
        is_served = (
            _is_served(kept, path) if number % 2 else _is_served_anew(base_url, headers, path)
        )
        longest = max(longest, time.perf_counter() - began)
        reads, failed = reads + 1, failed + (not is_served)
        # At least one read belongs to each measurement, and it may still run when asked.
        if connection.poll():
            connection.recv()
            connection.send(Waits(reads, failed, longest * 1000))
            reads, failed, longest = 0, 0, 0.0
        time.sleep(_PAUSE_SECONDS)


def _is_served_anew(base_url: str, headers: dict[str, str], path: str) -> bool:
    with _client(base_url, headers) as client:
        return _is_served(client, path)


def _is_served(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _credentials(base_url: str) -> dict[str, str]:
    """Sign up and log in; returns the header of a learner."""
    learner = {"email": f"{uuid4()}@example.com", "password": f"bystander-{uuid4()}"}
    with _client(base_url, {}) as client:
        client.post("/auth/signup", json=learner).raise_for_status()
        tokens = client.post("/auth/login", json=learner).raise_for_status().json()
    return {"authorization": f"Bearer {tokens['access_token']}"}


def _client(base_url: str, headers: dict[str, str]) -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=BYSTANDER_ADDRESS, verify=False)
    return httpx.Client(
        base_url=base_url, headers=headers, transport=transport, timeout=_TIMEOUT_SECONDS
    )

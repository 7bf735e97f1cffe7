"""Answers to attacks: which are refusals, and how to count and time them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import grpc
import httpx

from attack.model import Outcome

REFUSALS = frozenset({400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 414, 415, 422, 429, 431})
"""The HTTP statuses of a refusal that is the client's fault."""
GRPC_REFUSALS = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "UNIMPLEMENTED",
    }
)
"""The gRPC statuses of a refusal that is the client's fault."""
LEAKS = ("DecodeError", "Traceback", "sori.catalog", "sori.upload", "sori.analysis", ".py")
"""Texts that an answer must not contain."""
SLOW_SECONDS = 1.0
"""A refusal of the attacker that takes longer has cost too much."""
_HOPELESS_SECONDS = 4.0
_MOST_WRONG = 20


@dataclass
class Answers:
    """The answers to the requests of one attack.

    After an answer that took far too long, or many wrong ones, the rest is not sent: the
    attack has succeeded, and other attacks want a healthy target.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def http(
        self, label: str, send: Callable[[], httpx.Response], allowed: Iterable[int] = REFUSALS
    ) -> None:
        """Send a request; any status but the allowed ones is wrong."""
        if self._is_decided:
            return
        began = time.perf_counter()
        try:
            answer = send()
        except httpx.HTTPError as error:
            self._add(label, type(error).__name__, began, is_right=False)
            return
        leaks = [text for text in LEAKS if text in answer.text]
        is_right = answer.status_code in allowed and not leaks
        self._add(label, f"{answer.status_code} {' '.join(leaks)}".strip(), began, is_right)

    def rpc(
        self,
        label: str,
        call: Callable[[], object],
        allowed: Iterable[str] = GRPC_REFUSALS | {"OK"},
    ) -> None:
        """Call an rpc; any status but the allowed ones is wrong."""
        if self._is_decided:
            return
        began = time.perf_counter()
        status, details = "OK", ""
        try:
            call()
        except grpc.RpcError as error:
            status, details = error.code().name, str(error.details())
        leaks = [text for text in LEAKS if text in details]
        self._add(label, " ".join([status, *leaks]), began, status in allowed and not leaks)

    def outcome(self, slow_seconds: float = SLOW_SECONDS) -> Outcome:
        """Whether all answers were right and quick."""
        counts = ", ".join(f"{number}× {status}" for status, number in self.statuses.items())
        seen = f"{counts}; slowest {self.slowest_seconds * 1000:.0f} ms"
        if self.wrong:
            rest = len(self.wrong) - 3
            seen += f"; wrong: {', '.join(self.wrong[:3])}{f' and {rest} more' * (rest > 0)}"
        is_quick = self.slowest_seconds <= slow_seconds
        return Outcome(seen, not self.wrong and is_quick)

    @property
    def _is_decided(self) -> bool:
        return self.slowest_seconds > _HOPELESS_SECONDS or len(self.wrong) >= _MOST_WRONG

    def _add(self, label: str, status: str, began: float, is_right: bool) -> None:
        self.statuses[status] += 1
        self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - began)
        if not is_right:
            self.wrong.append(f"{label}: {status}")

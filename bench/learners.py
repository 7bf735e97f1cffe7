"""Learners with accounts, for benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

PASSWORD = "a long password of benchmarks"  # noqa: S105

ENVIRONMENT = {
    # Every learner has the same address, and few learners send many takes.
    "ACCOUNTS_MAILS_PER_ADDRESS": "100000",
    "ACCOUNT_MAX_BYTES_PER_DAY": str(10**15),
    "ACCOUNT_MAX_OPEN_UPLOADS": "100000",
    "MAX_JOBS_PER_OWNER": "0",
}
"""Settings of a stack whose few learners do the work of many."""


@dataclass(frozen=True)
class Learner:
    """An account and the tokens of its session."""

    email: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of its requests."""
        return {"Authorization": f"Bearer {self.access_token}"}


def sign_up(gateway_url: str, count: int) -> list[Learner]:
    """Create accounts and log in. Errors: httpx.HTTPStatusError."""
    with httpx.Client(base_url=gateway_url, timeout=60) as client:
        return [_sign_up(client, f"learner{number}@example.com") for number in range(count)]


def _sign_up(client: httpx.Client, email: str) -> Learner:
    credentials = {"email": email, "password": PASSWORD}
    client.post("/auth/signup", json=credentials).raise_for_status()
    answer = client.post("/auth/login", json=credentials).raise_for_status()
    tokens = answer.json()
    return Learner(email, tokens["access_token"], tokens["refresh_token"])

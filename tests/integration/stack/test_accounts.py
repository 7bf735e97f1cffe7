"""Accounts in the local stack: it keeps their mails in a folder, and runs without them, too."""

from __future__ import annotations

from email import message_from_bytes, policy
from pathlib import Path

import httpx

from services.registry import ACCOUNTS
from stack.readiness import wait_until
from stack.stack import Stack
from tests.integration.stack.commands import WAIT_SECONDS, up

LEARNER = {"email": "me@example.com", "password": "correct horse battery"}


def test_up_publishes_keys_and_keeps_mails_in_the_folder_that_it_names(tmp_path: Path) -> None:
    with up(tmp_path) as run:
        run.wait_for(lambda: "Ctrl-C" in run.output)
        folder = run.data_dir / "mail"
        assert f"Mails: {folder}" in run.output
        gateway = gateway_url(run.output)
        assert httpx.get(f"{gateway}/.well-known/jwks.json").raise_for_status().json()["keys"]
        httpx.post(f"{gateway}/auth/signup", json=LEARNER).raise_for_status()
        assert wait_until(lambda: any(folder.glob("*.eml")), WAIT_SECONDS)
        (path,) = folder.glob("*.eml")
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        assert mail["To"] == LEARNER["email"]
        assert "#token=" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_a_stack_without_accounts_serves_the_rest(tmp_path: Path) -> None:
    without = (ACCOUNTS.name, "analyzer")
    with Stack.on_free_ports(tmp_path, without=without) as stack:
        tokens = httpx.get(f"{stack.gateway_url}/tokens").raise_for_status().json()["tokens"]
        assert tokens
        assert httpx.post(f"{stack.gateway_url}/auth/login", json=LEARNER).status_code == 404


def gateway_url(output: str) -> str:
    (line,) = (line for line in output.splitlines() if line.startswith("HTTP API: "))
    return line.removeprefix("HTTP API: ").removesuffix("/docs")

"""Passkeys through the gateway: of a software authenticator, and of Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stack.stack import Stack
from tests.authenticator import Authenticator
from tests.e2e.product import Json, error_info, plain_http
from tests.stacks import new_stack

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "js"
NODE = shutil.which("node")
BROWSER = shutil.which("chromium")
PASSWORD = "correct horse battery"
WITH_CHROMIUM = pytest.mark.skipif(
    NODE is None or BROWSER is None or not (SCRIPTS / "node_modules" / "playwright-core").exists(),
    reason="Node.js, its packages or chromium are not installed",
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {"GATEWAY_ANONYMOUS_ROLES": ""}
    with new_stack(tmp_path_factory.mktemp("stack"), environment) as stack:
        yield stack


@pytest.fixture
def gateway(stack: Stack) -> Iterator[httpx.Client]:
    with plain_http(stack.gateway_url, 30) as client:
        yield client


@pytest.fixture
def origin(stack: Stack) -> str:
    """The gateway by its name: passkeys do not work for addresses."""
    return stack.gateway_url.replace("127.0.0.1", "localhost")


@pytest.fixture
def email(gateway: httpx.Client) -> str:
    """The address of a learner who has signed up."""
    address = f"{uuid.uuid4()}@example.com"
    posted(gateway, "/auth/signup", {"email": address, "password": PASSWORD})
    return address


def posted(gateway: httpx.Client, path: str, body: Json, token: str = "") -> Json:
    """The answer of a call that succeeds."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = gateway.post(path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    content: Json = answer.json()
    return content


def test_a_passkey_is_registered_used_listed_exported_and_deleted(
    gateway: httpx.Client, origin: str, email: str
) -> None:
    passkey, login = Authenticator(origin), {"email": email, "password": PASSWORD}
    token = posted(gateway, "/auth/login", login)["access_token"]
    begin = {"password": PASSWORD}
    options = posted(gateway, "/auth/passkeys:beginRegistration", begin, token)["public_key"]
    end = {"credential": passkey.create(options), "name": "휴대폰"}
    added = posted(gateway, "/auth/passkeys:endRegistration", end, token)
    options = posted(gateway, "/auth/passkeys:beginLogin", {})["public_key"]
    answer = passkey.get(options)
    token = posted(gateway, "/auth/passkeys:endLogin", {"credential": answer})["access_token"]

    repeated = gateway.post("/auth/passkeys:endLogin", json={"credential": answer})
    assert (repeated.status_code, error_info(repeated)["reason"]) == (401, "PASSKEY_INVALID")
    refused = gateway.post("/auth/login", json=login)
    assert refused.status_code == 401
    assert error_info(refused)["metadata"]["factors"] == "passkey"

    headers = {"authorization": f"Bearer {token}"}
    for path in ("/auth/passkeys", "/auth/me:export"):
        [listed] = gateway.get(path, headers=headers).json()["passkeys"]
        assert listed["name"] == "휴대폰"
        assert listed["use_time"]
    path = f"/auth/passkeys/{added['passkey']['passkey_id']}:delete"
    posted(gateway, path, {"totp_code": added["recovery_codes"][0]}, token)
    posted(gateway, "/auth/login", login)


@WITH_CHROMIUM
def test_the_documented_page_registers_a_passkey_and_logs_in_with_it(
    origin: str, email: str
) -> None:
    page = (ROOT / "docs" / "accounts.md").read_text("utf-8")
    [functions] = re.findall(r"```js\n(async function post.+?)```", page, re.DOTALL)
    options = {
        "browser": BROWSER,
        "url": f"{origin}/docs",
        "functions": functions,
        "email": email,
        "password": PASSWORD,
    }
    done = subprocess.run(
        [str(NODE), SCRIPTS / "passkeys.mjs", json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers["added"]["passkey"]["name"] == "Laptop"
    assert len(answers["added"]["recovery_codes"]) == 10
    assert "passkey" in json.dumps(answers["alone"])
    assert answers["second"]["access_token"]
    assert answers["me"]["email"] == email
    assert answers["me"]["has_passkey"]

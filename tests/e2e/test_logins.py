"""Logins through the gateway: browsers with a cookie, sessions, the first operator, new keys."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator

import httpx
import pytest
from joserfc import jws

from stack.stack import Stack
from tests.e2e.product import Json, Product, error_info, plain_http
from tests.e2e.waiting import eventually
from tests.stacks import new_stack

PASSWORD = "correct horse battery"
SAME_SITE = {"x-requested-with": "fetch"}
COOKIE = "__Host-sori_refresh"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {"GATEWAY_JWKS_SECONDS": "1", "GATEWAY_ANONYMOUS_ROLES": ""}
    with new_stack(tmp_path_factory.mktemp("stack"), environment) as stack:
        yield stack


@pytest.fixture
def gateway(stack: Stack) -> Iterator[httpx.Client]:
    with plain_http(stack.gateway_url, 30) as client:
        yield client


@pytest.fixture
def product(stack: Stack, gateway: httpx.Client) -> Product:
    return Product(stack, gateway)


@pytest.fixture
def email(gateway: httpx.Client) -> str:
    """The address of a learner who has signed up."""
    address = f"{uuid.uuid4()}@example.com"
    answer = gateway.post("/auth/signup", json={"email": address, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return address


def logged_in(gateway: httpx.Client, email: str) -> Json:
    """The tokens of a login."""
    answer = gateway.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    tokens: Json = answer.json()
    return tokens


def bearer(tokens: Json) -> Json:
    return {"authorization": f"Bearer {tokens['access_token']}"}


def refreshed(gateway: httpx.Client, tokens: Json) -> Json:
    """The tokens after a refresh."""
    request = {"refresh_token": tokens["refresh_token"]}
    answer = gateway.post("/auth/refresh", json=request)
    assert answer.status_code == 200, answer.text
    successor: Json = answer.json()
    return successor


def cookie_of(answer: httpx.Response) -> str:
    """The refresh token in the cookie of a response."""
    assert answer.status_code == 200, answer.text
    assert not answer.json().get("refresh_token")
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == COOKIE
    return str(rest.partition(";")[0])


def test_a_browser_continues_its_session_with_the_cookie(gateway: httpx.Client, email: str) -> None:
    credentials = {"email": email, "password": PASSWORD, "use_cookie": True}
    token = cookie_of(gateway.post("/auth/login", json=credentials, headers=SAME_SITE))
    headers = {"cookie": f"{COOKIE}={token}"}
    foreign = gateway.post("/auth/refresh", json={}, headers=headers)
    assert foreign.status_code == 403
    assert error_info(foreign)["reason"] == "CROSS_SITE_REQUEST"
    answer = gateway.post("/auth/refresh", json={}, headers={**headers, **SAME_SITE})
    assert cookie_of(answer) != token
    assert gateway.get("/auth/me", headers=bearer(answer.json())).json()["email"] == email


def test_a_stolen_refresh_token_ends_the_session_of_both(
    gateway: httpx.Client, product: Product, email: str
) -> None:
    stolen = logged_in(gateway, email)
    successor = refreshed(gateway, stolen)
    product.execute(
        "UPDATE accounts.used_refresh_tokens SET use_time = use_time - interval '1 minute'"
    )
    for tokens in (stolen, successor):
        request = {"refresh_token": tokens["refresh_token"]}
        answer = gateway.post("/auth/refresh", json=request)
        assert answer.status_code == 401
        assert error_info(answer)["reason"] == "SESSION_ENDED"


def test_a_learner_ends_another_session(gateway: httpx.Client, email: str) -> None:
    here, there = logged_in(gateway, email), logged_in(gateway, email)
    answer = gateway.delete(f"/auth/sessions/{there['session_id']}", headers=bearer(here))
    assert answer.status_code == 200, answer.text
    listed = gateway.get("/auth/sessions", headers=bearer(here)).json()["sessions"]
    assert [each["session_id"] for each in listed] == [here["session_id"]]


def command(stack: Stack, *arguments: str) -> str:
    """Run a command of an administrator; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "services.accounts.cli", *arguments],
        env=dict(stack.environment),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture
def as_operator(gateway: httpx.Client, stack: Stack) -> Json:
    """The headers of an operator, who has set the password with the printed link."""
    email = f"{uuid.uuid4()}@example.com"
    printed = command(stack, "create-operator", email)
    reset = {"token": printed.rpartition("#token=")[2].strip(), "new_password": PASSWORD}
    assert gateway.post("/auth/reset-password", json=reset).status_code == 200
    return bearer(logged_in(gateway, email))


def test_the_first_operator_grants_a_role(
    gateway: httpx.Client, as_operator: Json, email: str
) -> None:
    tokens = logged_in(gateway, email)
    actor = {"name": f"actor {uuid.uuid4()}"}
    assert gateway.post("/actors", json=actor, headers=bearer(tokens)).status_code == 403
    account_id = gateway.get("/auth/me", headers=bearer(tokens)).json()["account_id"]
    answer = gateway.post(
        f"/accounts/{account_id}:grantRole",
        json={"role": "ROLE_CATALOG_EDITOR"},
        headers=as_operator,
    )
    assert answer.status_code == 200, answer.text
    editor = bearer(refreshed(gateway, tokens))
    assert gateway.post("/actors", json=actor, headers=editor).status_code == 200
    entries = gateway.get("/accounts/audit", headers=as_operator, params={"page_size": 1}).json()
    assert (entries["entries"][0]["action"], entries["entries"][0]["account_id"]) == (
        "grant_role",
        account_id,
    )


def test_an_internal_client_calls_with_a_token_of_its_own(
    gateway: httpx.Client, as_operator: Json
) -> None:
    request = {"name": "import", "roles": ["ROLE_CATALOG_EDITOR"]}
    created = gateway.post("/accounts/clients", json=request, headers=as_operator).json()
    tokens = gateway.post("/auth/client-token", json=created).json()
    answer = gateway.post("/actors", json={"name": f"a {uuid.uuid4()}"}, headers=bearer(tokens))
    assert answer.status_code == 200, answer.text


def kid_of(tokens: Json) -> str:
    return str(jws.extract_compact(tokens["access_token"].encode()).headers()["kid"])


def test_no_call_fails_while_the_signing_key_changes(
    gateway: httpx.Client, stack: Stack, product: Product, email: str
) -> None:
    tokens = logged_in(gateway, email)
    before, old = kid_of(tokens), bearer(tokens)
    command(stack, "rotate-keys")
    published = set[str]()

    def is_published() -> bool:
        keys = gateway.get("/.well-known/jwks.json").json()["keys"]
        published.update(key["kid"] for key in keys)
        return len(keys) == 2

    def has_changed() -> bool:
        nonlocal tokens
        tokens = refreshed(gateway, tokens)
        for headers in (old, bearer(tokens)):
            answer = gateway.get("/auth/me", headers=headers)
            assert answer.status_code == 200, answer.text
        return kid_of(tokens) != before

    eventually(is_published, 60)
    # The ten minutes until its first use pass.
    product.execute(
        "UPDATE accounts.signing_keys SET activate_time = activate_time - interval '11 minutes'"
    )
    eventually(has_changed, 60)
    assert kid_of(tokens) in published

"""Attacks on logins and ownership, over HTTP on the whole product."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest

from services.runtime.callers import new_guest_token
from stack.stack import Stack
from tests.e2e.product import Json, Product, error_info, plain_http
from tests.e2e.waiting import eventually
from tests.stacks import new_stack

PASSWORD = "tidal-lamp-orbit"
SAME_SITE = {"x-requested-with": "fetch"}
COOKIE = "__Host-sori_refresh"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with new_stack(tmp_path_factory.mktemp("stack"), {"GATEWAY_ANONYMOUS_ROLES": ""}) as stack:
        yield stack


@pytest.fixture
def gateway(stack: Stack) -> Iterator[httpx.Client]:
    with plain_http(stack.gateway_url, 30) as client:
        yield client


@pytest.fixture
def product(stack: Stack, gateway: httpx.Client) -> Product:
    return Product(stack, gateway)


def credentials(gateway: httpx.Client, headers: Json | None = None) -> Json:
    """The credentials of a learner who has signed up. headers: of the sign-up."""
    learner = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
    answer = gateway.post("/auth/signup", json=learner, headers=headers)
    assert answer.status_code == 200, answer.text
    return learner


def logged_in(gateway: httpx.Client, learner: Json, headers: Json | None = None) -> httpx.Response:
    """The answer to a login with a refresh cookie."""
    body = {**learner, "use_cookie": True}
    answer = gateway.post("/auth/login", json=body, headers={**SAME_SITE, **(headers or {})})
    assert answer.status_code == 200, answer.text
    return answer


def cookie_of(answer: httpx.Response) -> str:
    """The refresh cookie of an answer, as a browser sends it back."""
    cookie: str = answer.headers["set-cookie"].partition(";")[0]
    assert cookie.startswith(COOKIE)
    return cookie


def bearer(answer: httpx.Response) -> Json:
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def email_of(gateway: httpx.Client, headers: Json) -> str:
    answer = gateway.get("/auth/me", headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["email"])


def test_a_planted_refresh_cookie_gives_no_access_to_the_victim(gateway: httpx.Client) -> None:
    attacker, victim = credentials(gateway), credentials(gateway)
    planted = cookie_of(logged_in(gateway, attacker))
    gateway.cookies.clear()
    answer = logged_in(gateway, victim, {"cookie": planted})
    gateway.cookies.clear()
    assert cookie_of(answer) != planted
    assert email_of(gateway, bearer(answer)) == victim["email"]
    # The attacker's cookie still leads to the attacker's own account.
    headers = {"cookie": planted, **SAME_SITE}
    refreshed = gateway.post("/auth/refresh", json={}, headers=headers)
    assert email_of(gateway, bearer(refreshed)) == attacker["email"]


def test_a_planted_guest_token_gives_no_access_after_the_sign_up(
    gateway: httpx.Client, product: Product
) -> None:
    planted = {"x-guest-token": new_guest_token()}
    uploaded = product.upload(1, "ref_0890.wav", planted)
    assert uploaded.status_code == 200, uploaded.text
    path = f"/analyses/{uploaded.json()['job_id']}"
    assert gateway.get(path, headers=planted).status_code == 200
    victim = bearer(logged_in(gateway, credentials(gateway, planted)))
    eventually(lambda: gateway.get(path, headers=planted).status_code == 404)
    assert gateway.get(path, headers=victim).status_code == 200


def confusions(own: str, foreign: str) -> list[tuple[str, str, Json | None]]:
    """Requests that name two analyses: method, URL and body."""
    return [
        ("GET", f"/analyses/{own}?job_id={foreign}", None),
        ("GET", f"/analyses/{foreign}?job_id={own}", None),
        ("GET", f"/analyses/{own}?jobId={foreign}", None),
        ("GET", f"/tokens/analysis-result/{own}?job_id={foreign}", None),
        ("GET", f"/tokens/analysis-progress/{own}?job_id={foreign}", None),
        ("DELETE", f"/analyses/{own}?job_id={foreign}", None),
        ("POST", f"/analyses/{own}:cancel", {"job_id": foreign}),
        ("POST", f"/analyses/{own}:cancel?job_id={foreign}", {}),
    ]


def test_a_second_id_in_a_request_reaches_nothing_of_others(
    gateway: httpx.Client, product: Product
) -> None:
    owner, attacker = (bearer(logged_in(gateway, credentials(gateway))) for _ in range(2))
    foreign = product.upload(1, "ref_0890.wav", owner).json()["job_id"]
    own = product.upload(1, "ref_0890.wav", attacker).json()["job_id"]
    for method, url, body in confusions(own, foreign):
        answer = gateway.request(method, url, json=body, headers=attacker)
        assert answer.status_code == 400, f"{method} {url}: {answer.text}"
    analysis = gateway.get(f"/analyses/{foreign}", headers=owner)
    assert analysis.status_code == 200, analysis.text
    assert "CANCELLED" not in analysis.json()["state"]


def decoded(part: str) -> Json:
    fields: Json = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return fields


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def changed(part: str, **fields: object) -> str:
    return encoded(json.dumps({**decoded(part), **fields}).encode())


def without_signature(token: str, _: Json) -> str:
    head, claims = token.split(".")[:2]
    return f"{changed(head, alg='none')}.{claims}."


def signed_with_the_public_key(token: str, key: Json) -> str:
    head, claims = token.split(".")[:2]
    signed = f"{changed(head, alg='HS256')}.{claims}"
    secret = json.dumps(key).encode()
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def with_another_role(token: str, _: Json) -> str:
    head, claims, signature = token.split(".")
    return f"{head}.{changed(claims, roles=['operator'])}.{signature}"


def with_a_later_end(token: str, _: Json) -> str:
    head, claims, signature = token.split(".")
    return f"{head}.{changed(claims, exp=decoded(claims)['exp'] + 600)}.{signature}"


def with_an_unknown_key(token: str, _: Json) -> str:
    head, claims, signature = token.split(".")
    return f"{changed(head, kid='unknown')}.{claims}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        without_signature,
        signed_with_the_public_key,
        with_another_role,
        with_a_later_end,
        with_an_unknown_key,
    ],
)
def test_a_forged_access_token_is_refused(
    gateway: httpx.Client, forge: Callable[[str, Json], str]
) -> None:
    token = logged_in(gateway, credentials(gateway)).json()["access_token"]
    (key, *_) = gateway.get("/.well-known/jwks.json").json()["keys"]
    headers = {"authorization": f"Bearer {forge(token, key)}"}
    answer = gateway.get("/auth/me", headers=headers)
    assert answer.status_code == 401
    assert error_info(answer)["reason"] == "CREDENTIALS_INVALID"
    assert gateway.get("/auth/me", headers={"authorization": f"Bearer {token}"}).status_code == 200

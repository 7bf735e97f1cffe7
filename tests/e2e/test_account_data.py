"""What becomes of a learner's data: a guest keeps the takes, a deletion leaves nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest

from stack.stack import Stack
from tests.e2e.product import Json, Product, plain_http
from tests.e2e.tus import Tus, metadata
from tests.e2e.waiting import eventually
from tests.stacks import new_stack

PASSWORD = "correct horse battery"
PNG = b"\x89PNG\r\n\x1a\n"
ERASURE_SECONDS = 240
"""The deleted jobs stay for a minute, and the erasure waits until the access tokens expired."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {"ACCESS_TOKEN_SECONDS": "30", "ACCOUNTS_EMAIL_VERIFICATION": "false"}
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
def token_id(gateway: httpx.Client) -> int:
    """A token of this test alone."""
    actor = gateway.post("/actors", json={"name": f"actor {uuid.uuid4()}"}).json()
    token = gateway.post("/tokens", json={"name": "t", "actor_ids": [actor["id"]], "end_time": 5})
    token_id: int = token.json()["id"]
    return token_id


@dataclass(frozen=True)
class Learner:
    """A learner who is logged in. headers: of the learner's calls."""

    account_id: str
    headers: Json


def logged_in(gateway: httpx.Client, headers: Json | None = None) -> Learner:
    """Sign up and log in. headers: of the sign-up."""
    credentials = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
    answer = gateway.post("/auth/signup", json=credentials, headers=headers)
    assert answer.status_code == 200, answer.text
    answer = gateway.post("/auth/login", json=credentials)
    assert answer.status_code == 200, answer.text
    authorization = {"authorization": f"Bearer {answer.json()['access_token']}"}
    me = gateway.get("/auth/me", headers=authorization)
    assert me.status_code == 200, me.text
    return Learner(me.json()["account_id"], authorization)


def traces(database_url: str, text: str) -> list[str]:
    """The tables that have a row with a text, except the audit log."""

    async def found() -> list[str]:
        connection = await asyncpg.connect(database_url)
        try:
            tables = await connection.fetch(
                "SELECT schemaname || '.' || tablename AS name FROM pg_tables"
                " WHERE schemaname IN ('accounts', 'analysis', 'catalog', 'upload')"
                " AND tablename <> 'audit'"
            )
            return [
                str(row["name"])
                for row in tables
                if await connection.fetchval(
                    f"SELECT count(*) FROM {row['name']} t WHERE t::text LIKE $1", f"%{text}%"
                )
            ]
        finally:
            await connection.close()

    return asyncio.run(found())


def analyses(gateway: httpx.Client, headers: Json) -> list[str]:
    listed = gateway.get("/analyses", headers=headers).json()
    return [each["job_id"] for each in listed.get("analyses", ())]


def test_a_guest_who_signs_up_keeps_the_takes(
    product: Product, gateway: httpx.Client, token_id: int
) -> None:
    uploaded = product.upload(token_id, "ref_0890.wav")
    guest: Any = uploaded.headers["x-guest-token"]
    learner = logged_in(gateway, {"x-guest-token": guest})
    job_id = uploaded.json()["job_id"]
    eventually(lambda: analyses(gateway, learner.headers) == [job_id])


def send_picture(gateway: httpx.Client, headers: Json, content: bytes) -> httpx.Response:
    return gateway.post("/auth/me/picture", files={"file": content}, headers=headers)


def send_picture_by_tus(gateway: httpx.Client, headers: Json, content: bytes) -> httpx.Response:
    described = {"Upload-Metadata": metadata(purpose="picture", filename="me.png")}
    return Tus(gateway, 0).create(len(content), content, headers={**headers, **described})


def shown_picture(gateway: httpx.Client, headers: Json) -> bytes:
    """The picture that the URL of the account shows."""
    picture = gateway.get("/auth/me", headers=headers).json()["picture"]
    return httpx.get(picture["url"]).raise_for_status().content


@pytest.mark.parametrize("send", [send_picture, send_picture_by_tus], ids=["form", "tus"])
def test_a_learner_replaces_and_removes_the_picture(
    product: Product, gateway: httpx.Client, send: Callable[..., httpx.Response]
) -> None:
    learner = logged_in(gateway)
    prefix = f"pictures/{learner.account_id}/"
    for content in (PNG + b"first", PNG + b"second"):
        assert send(gateway, learner.headers, content).is_success
        assert shown_picture(gateway, learner.headers) == content
    eventually(lambda: len(product.object_keys(prefix)) == 1)
    assert gateway.delete("/auth/me/picture", headers=learner.headers).status_code == 200
    assert "picture" not in gateway.get("/auth/me", headers=learner.headers).json()
    eventually(lambda: product.object_keys(prefix) == [])


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"<html>" + bytes(10_000), 415, "UNSUPPORTED_PICTURE"),
        (PNG + bytes(5 * 1024**2), 413, "PICTURE_TOO_LARGE"),
        (b"", 400, "EMPTY_PICTURE"),
    ],
    ids=["HTML", "too large", "empty"],
)
def test_another_file_is_no_picture(
    gateway: httpx.Client, content: bytes, status: int, reason: str
) -> None:
    learner = logged_in(gateway)
    answer = send_picture(gateway, learner.headers, content)
    assert (answer.status_code, answer.json()["details"][0]["reason"]) == (status, reason)
    assert "picture" not in gateway.get("/auth/me", headers=learner.headers).json()


def test_a_caller_without_an_account_has_no_picture(gateway: httpx.Client) -> None:
    assert send_picture(gateway, {}, PNG).status_code == 401
    assert send_picture_by_tus(gateway, {}, PNG).status_code == 401


@pytest.mark.timeout(ERASURE_SECONDS + 120)
def test_nothing_is_left_of_a_deleted_account(
    product: Product, gateway: httpx.Client, stack: Stack, token_id: int
) -> None:
    learner = logged_in(gateway)
    job_id = product.upload(token_id, "ref_0890.wav", learner.headers).json()["job_id"]
    unfinished = Tus(gateway, token_id).create(1000, headers=learner.headers)
    assert unfinished.status_code == 201, unfinished.text
    assert send_picture(gateway, learner.headers, PNG).status_code == 200
    exported = gateway.get("/auth/me:export", headers=learner.headers).json()
    assert httpx.get(exported["account"]["picture"]["url"]).content == PNG
    assert job_id in [each["analysis"]["job_id"] for each in exported["analyses"]]
    assert product.recording_keys(token_id)
    assert traces(stack.database_url, learner.account_id)
    answer = gateway.post("/auth/me:delete", json={"password": PASSWORD}, headers=learner.headers)
    assert answer.status_code == 200, answer.text
    receipt = f"/auth/erasures/{answer.json()['erasure_id']}"
    eventually(lambda: "complete_time" in gateway.get(receipt).json(), ERASURE_SECONDS)
    assert traces(stack.database_url, learner.account_id) == []
    assert product.recording_keys(token_id) == []
    assert [key for key in product.object_keys("") if learner.account_id in key] == []

"""What becomes of a learner's data: a guest keeps the takes, a deletion leaves nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest

from stack.stack import Stack
from tests.e2e.product import Json, Product, plain_http
from tests.e2e.tus import Tus
from tests.e2e.waiting import eventually
from tests.stacks import new_stack

PASSWORD = "correct horse battery"
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


@pytest.mark.timeout(ERASURE_SECONDS + 120)
def test_nothing_is_left_of_a_deleted_account(
    product: Product, gateway: httpx.Client, stack: Stack, token_id: int
) -> None:
    learner = logged_in(gateway)
    job_id = product.upload(token_id, "ref_0890.wav", learner.headers).json()["job_id"]
    unfinished = Tus(gateway, token_id).create(1000, headers=learner.headers)
    assert unfinished.status_code == 201, unfinished.text
    exported = gateway.get("/auth/me:export", headers=learner.headers).json()
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

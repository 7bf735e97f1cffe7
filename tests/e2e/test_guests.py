"""A client without an account becomes a guest with its first upload, through the real gateway."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import grpc
import httpx
import pytest

from services.runtime.callers import guest_owner_id, new_guest_token
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.e2e.product import Product, plain_http
from tests.e2e.tus import Tus

TOKEN = re.compile(r"[0-9a-f]{8}[A-Za-z0-9_-]{43}")


@pytest.fixture
def browser(product: Product) -> Iterator[Product]:
    """A client that keeps its cookies, and has none yet."""
    with plain_http(product.stack.gateway_url) as client:
        yield Product(product.stack, client)


def owner_of_job(product: Product, job_id: str) -> str | None:
    """The owner in the row of a job."""

    async def read() -> Any:
        connection = await asyncpg.connect(product.stack.database_url)
        try:
            query = "SELECT owner_id FROM analysis.jobs WHERE job_id = $1"
            return await connection.fetchval(query, job_id)
        finally:
            await connection.close()

    owner_id: str | None = asyncio.run(read())
    return owner_id


def test_a_browser_is_the_same_guest_from_its_first_upload_onwards(
    browser: Product, held_token: int
) -> None:
    first = browser.upload(held_token, "ref_0890.wav")
    cookie, *attributes = first.headers["set-cookie"].split("; ")
    secret = cookie.removeprefix("sori_guest=")
    assert TOKEN.fullmatch(secret)
    assert first.headers["x-guest-token"] == secret
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert "Secure" not in attributes
    second = browser.upload(held_token, "take_0890_close.webm")
    assert "set-cookie" not in second.headers
    for answer in (first, second):
        owner_id = owner_of_job(browser, answer.json()["job_id"])
        assert owner_id == guest_owner_id(secret)


def test_a_client_without_cookies_sends_its_secret_as_a_header(
    browser: Product, held_token: int
) -> None:
    secret = browser.upload(held_token, "ref_0890.wav").headers["x-guest-token"]
    browser.gateway.cookies.clear()
    again = browser.upload(held_token, "take_0890_close.webm", {"x-guest-token": secret})
    assert "x-guest-token" not in again.headers
    assert owner_of_job(browser, again.json()["job_id"]) == guest_owner_id(secret)


def test_headers_of_a_client_identify_no_one(browser: Product, held_token: int) -> None:
    secret = new_guest_token()
    spoofed = {
        "x-sori-caller": "account",
        "x-sori-account": "a learner",
        "x-sori-roles": "operator",
        "x-sori-guest-token": secret,
    }
    answer = browser.upload(held_token, "ref_0890.wav", spoofed)
    assert answer.headers["x-guest-token"] != secret
    owner_id = owner_of_job(browser, answer.json()["job_id"])
    assert owner_id == guest_owner_id(answer.headers["x-guest-token"])


def test_a_tus_client_becomes_a_guest(browser: Product, held_token: int) -> None:
    answer = Tus(browser.gateway, held_token).create(5)
    assert answer.status_code == httpx.codes.CREATED
    assert answer.headers["location"]
    assert answer.headers["set-cookie"].startswith(
        f"sori_guest={answer.headers['x-guest-token']}; "
    )


def test_a_grpc_client_becomes_a_guest(
    product: Product, channel: grpc.Channel, held_token: int
) -> None:
    stub = upload_pb2_grpc.UploadServiceStub(channel)
    request = pb.CreateUploadRequest(token_id=held_token)
    upload, first = stub.CreateUpload.with_call(request, timeout=30)
    secret = str(dict(first.initial_metadata())["x-guest-token"])
    assert owner_of_job(product, upload.job_id) == guest_owner_id(secret)
    identity = (("x-guest-token", secret),)
    again, second = stub.CreateUpload.with_call(request, metadata=identity, timeout=30)
    assert "x-guest-token" not in dict(second.initial_metadata())
    assert owner_of_job(product, again.job_id) == guest_owner_id(secret)

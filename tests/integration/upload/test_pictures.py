"""Pictures of accounts, on real PostgreSQL, S3 and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from services.upload.models import Kind, Plan
from services.upload.state import State
from tests.integration.upload.callers import (
    NOBODY,
    Answer,
    Callers,
    account,
    callers_of,
    guest,
    refusal_of,
    upload_id_of,
)
from tests.integration.upload.process import MIB, Backends, Process, random_content

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

PNG, JPEG, WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF0000WEBP"
KEYCLOAK = "keycloak|anna"

Caller = Mapping[str, str]
Upload = Callable[[Callers, Caller, bytes], Awaitable[Answer]]


async def by_tus(callers: Callers, caller: Caller, content: bytes) -> Answer:
    return await callers.create_picture(caller, len(content), content)


WAYS: dict[str, Upload] = {
    "stream": Callers.upload_picture,
    "form": Callers.send_picture_form,
    "tus": by_tus,
}
ways = pytest.mark.parametrize("upload", WAYS.values(), ids=WAYS)


def picture(head: bytes = PNG, size: int = 20_000) -> bytes:
    """A file that begins as a picture, and that no other test has."""
    return head + random_content(size - len(head))


@pytest_asyncio.fixture(loop_scope="package")
async def process(backends: Backends) -> Process:
    return Process(backends)


@pytest_asyncio.fixture(loop_scope="package")
async def callers(process: Process) -> AsyncIterator[Callers]:
    async with callers_of(process) as callers:
        yield callers


@pytest_asyncio.fixture(loop_scope="package")
async def learner(backends: Backends) -> dict[str, str]:
    """A learner with an account in the accounts service."""
    account_id = uuid4()
    await backends.execute("INSERT INTO accounts.accounts (account_id) VALUES (:id)", id=account_id)
    return account(str(account_id))


def id_of(caller: Caller) -> str:
    return caller["x-sori-account"]


async def objects_of(backends: Backends, caller: Caller) -> list[str]:
    """The keys of all objects of pictures of an account."""
    return [key for key, _ in await backends.stored_objects(f"pictures/{id_of(caller)}/")]


async def picture_of(backends: Backends, caller: Caller) -> tuple[str, str] | None:
    """The object and the media type of the picture that accounts has."""
    async with backends.database.transaction() as connection:
        row = (
            await connection.exec_driver_sql(
                "SELECT picture_key, picture_type FROM accounts.accounts WHERE account_id = $1",
                (UUID(id_of(caller)),),
            )
        ).one()
        return None if row.picture_key is None else (row.picture_key, row.picture_type)


@ways
@pytest.mark.parametrize(
    ("head", "content_type"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp")],
    ids=["PNG", "JPEG", "WebP"],
)
async def test_a_picture_becomes_that_of_the_account(
    backends: Backends,
    callers: Callers,
    learner: Caller,
    upload: Upload,
    head: bytes,
    content_type: str,
) -> None:
    content = picture(head)
    await upload(callers, learner, content)
    (key,) = await objects_of(backends, learner)
    assert await picture_of(backends, learner) == (key, content_type)
    assert b"".join([piece async for piece in backends.objects.read(key)]) == content
    stored = await backends.s3.head_object(Bucket=backends.bucket, Key=key)
    assert stored["ContentType"] == content_type


@ways
@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"", "INVALID_ARGUMENT", "EMPTY_PICTURE"),
        (b"<svg onload='x'/>" * 300, "INVALID_ARGUMENT", "UNSUPPORTED_PICTURE"),
        (b"GIF89a" + bytes(100), "INVALID_ARGUMENT", "UNSUPPORTED_PICTURE"),
        (b"RIFF0000WAVE" + bytes(100), "INVALID_ARGUMENT", "UNSUPPORTED_PICTURE"),
        (PNG + bytes(5 * MIB), "OUT_OF_RANGE", "PICTURE_TOO_LARGE"),
    ],
    ids=["empty", "SVG", "GIF", "WAV", "too large"],
)
async def test_another_file_is_refused_and_leaves_nothing(
    backends: Backends,
    callers: Callers,
    learner: Caller,
    upload: Upload,
    content: bytes,
    code: str,
    reason: str,
) -> None:
    refusal = await refusal_of(upload(callers, learner, content))
    assert (refusal.code, refusal.reason) == (code, reason)
    assert await objects_of(backends, learner) == []
    assert await picture_of(backends, learner) is None


@ways
@pytest.mark.parametrize(
    "caller",
    [NOBODY, guest("g" * 43), account(KEYCLOAK)],
    ids=["nobody", "guest", "account of another issuer"],
)
async def test_only_accounts_of_the_suite_have_pictures(
    callers: Callers, upload: Upload, caller: Caller
) -> None:
    refusal = await refusal_of(upload(callers, caller, picture()))
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING")


async def test_a_deleted_account_gets_no_picture(backends: Backends, callers: Callers) -> None:
    unknown = account()
    refusal = await refusal_of(callers.upload_picture(unknown, picture()))
    assert refusal.reason == "CREDENTIALS_MISSING"
    assert await objects_of(backends, unknown) == []


async def test_a_tus_upload_of_a_picture_continues_over_connections(
    backends: Backends, callers: Callers, learner: Caller
) -> None:
    content = picture()
    created = await callers.create_picture(learner, len(content))
    assert created.header("x-job-id") is None
    assert await picture_of(backends, learner) is None
    await callers.patch(learner, upload_id_of(created), content)
    (key,) = await objects_of(backends, learner)
    assert await picture_of(backends, learner) == (key, "image/png")


async def test_nobody_else_continues_the_upload_of_a_picture(
    callers: Callers, learner: Caller
) -> None:
    created = await callers.create_picture(learner, 20_000)
    refusal = await refusal_of(callers.patch(account(), upload_id_of(created), picture()))
    assert refusal.reason == "UPLOAD_NOT_FOUND"


async def test_accounts_that_do_not_respond_are_reported(
    backends: Backends, learner: Caller
) -> None:
    async with callers_of(Process(replace(backends, accounts_address="127.0.0.1:9"))) as callers:
        refusal = await refusal_of(callers.upload_picture(learner, picture()))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "ACCOUNTS_UNAVAILABLE")


async def test_the_reaper_completes_a_stored_picture(
    backends: Backends, process: Process, callers: Callers, learner: Caller
) -> None:
    away = Process(replace(backends, accounts_address="127.0.0.1:9"))
    content = picture()
    async with callers_of(away) as callers_meanwhile:
        created = await callers_meanwhile.create_picture(learner, len(content))
        upload_id = upload_id_of(created)
        await refusal_of(callers_meanwhile.patch(learner, upload_id, content))
    await backends.execute(
        "UPDATE upload.uploads SET due_time = now() WHERE upload_id = :id", id=upload_id
    )
    while await process.reaper.reap():
        pass
    (key,) = await objects_of(backends, learner)
    assert await picture_of(backends, learner) == (key, "image/png")


async def test_the_reaper_deletes_what_an_abandoned_picture_left(
    backends: Backends, process: Process, callers: Callers, learner: Caller
) -> None:
    plan = Plan(Kind.PICTURE, owner_id=id_of(learner), resumable=False)
    record = await process.create(plan)
    await backends.objects.put(record.object_key, picture(), "image/png")
    await backends.execute(
        "UPDATE upload.uploads SET due_time = now(), expire_time = now() WHERE upload_id = :id",
        id=record.upload.upload_id,
    )
    while await process.reaper.reap():
        pass
    assert await objects_of(backends, learner) == []
    assert (await process.store.get(record.upload.upload_id)).upload.state is State.EXPIRED


async def test_an_erasure_cancels_the_upload_of_a_picture(
    backends: Backends, process: Process, callers: Callers, learner: Caller
) -> None:
    created = await callers.create_picture(learner, 20_000)
    erased = await process.owned.erase(id_of(learner))
    assert erased.erased == 1
    refusal = await refusal_of(callers.patch(learner, upload_id_of(created), picture()))
    assert refusal.reason == "UPLOAD_NOT_FOUND"
    assert await objects_of(backends, learner) == []

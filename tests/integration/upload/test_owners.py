"""Uploads belong to accounts and guests, on real PostgreSQL, S3 and gRPC."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from random import randrange
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text

from services.analysis.servicer import AnalysisIntakeServicer
from services.runtime.callers import Caller, new_guest_token
from services.runtime.interceptors import Context
from services.runtime.settings import DatabaseSettings
from services.upload import owners, take_session
from services.upload.client_limits import Quota, account_client
from services.upload.errors import UploadEnded
from services.upload.models import recording_key
from sori.analysis.v1 import analysis_pb2
from sori.upload.v1 import upload_pb2
from stack.stack import Stack
from tests.e2e.uploading import wav
from tests.integration.upload.callers import (
    NOBODY,
    OPERATOR,
    Callers,
    Refusal,
    account,
    callers_of,
    creations,
    guest,
    refusal_of,
    upload_id_of,
)
from tests.integration.upload.conftest import running_analysis
from tests.integration.upload.process import (
    MIB,
    PART,
    Backends,
    Process,
    assert_nothing_left_in_s3,
    random_content,
)

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

SMALL, LARGE = 20_000, PART + MIB // 4


def new_take(size: int = SMALL) -> bytes:
    """A recording that no other test has."""
    return wav(size, seed=randrange(2**32))


def new_guest() -> dict[str, str]:
    """A guest with a new secret."""
    return guest(new_guest_token())


def id_of(caller: Mapping[str, str]) -> str:
    """The id of an account."""
    return caller["x-sori-account"]


async def owner_of(backends: Backends, upload_id: object) -> str | None:
    """The owner in the row of an upload."""
    async with backends.database.transaction() as connection:
        found = await connection.execute(
            text("SELECT owner_id FROM upload.uploads WHERE upload_id = :upload_id"),
            {"upload_id": UUID(str(upload_id))},
        )
        owner_id: str | None = found.scalar_one()
        return owner_id


async def rows_of(backends: Backends, owner_id: str) -> int:
    """The number of rows that name an owner, in all tables of the upload service."""
    statement = text(
        "SELECT (SELECT count(*) FROM upload.uploads WHERE owner_id = :owner_id)"
        " + (SELECT count(*) FROM upload.client_bytes WHERE client LIKE '%' || :owner_id)"
    )
    async with backends.database.transaction() as connection:
        return int(await connection.scalar(statement, {"owner_id": owner_id}) or 0)


@pytest.fixture(autouse=True)
def slow_takes_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a small take may last longer than a second."""
    monkeypatch.setattr(take_session, "OPEN_SECONDS", 60)


@pytest_asyncio.fixture(loop_scope="package")
async def callers(backends: Backends) -> AsyncIterator[Callers]:
    """The upload service, which admits guests."""
    async with callers_of(Process(backends)) as callers:
        yield callers


class NotedIntake(AnalysisIntakeServicer):
    """The intake of analysis; notes the owners of new jobs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        OWNERS.clear()

    async def OpenAnalysis(
        self, request: analysis_pb2.OpenAnalysisRequest, context: Context
    ) -> analysis_pb2.OpenAnalysisResponse:
        OWNERS.append(("OpenAnalysis", request.owner_id))
        return await super().OpenAnalysis(request, context)

    async def SubmitRecording(
        self, request: analysis_pb2.SubmitRecordingRequest, context: Context
    ) -> analysis_pb2.SubmitRecordingResponse:
        OWNERS.append(("SubmitRecording", request.owner_id))
        return await super().SubmitRecording(request, context)


OWNERS: list[tuple[str, str]] = []


@pytest_asyncio.fixture(loop_scope="package")
async def noted(storage: Stack, backends: Backends) -> AsyncIterator[Callers]:
    """The upload service, with an analysis service that notes the owners of new jobs."""
    settings = DatabaseSettings(database_url=SecretStr(storage.database_url))
    async with running_analysis(settings, NotedIntake) as address:
        changed = Backends(**{**vars(backends), "analysis_address": address})
        async with callers_of(Process(changed)) as callers:
            yield callers


class TestOwners:
    async def test_a_job_has_the_account_that_uploads_its_take(
        self, backends: Backends, noted: Callers
    ) -> None:
        learner = account()
        await noted.stream_take(learner, backends.token_id, new_take())
        await noted.send_form(learner, backends.token_id, new_take())
        await noted.stream_take(learner, backends.token_id, new_take(LARGE))
        await noted.create(learner, backends.token_id)
        calls = ["SubmitRecording", "SubmitRecording", "OpenAnalysis", "OpenAnalysis"]
        assert [(call, id_of(learner)) for call in calls] == OWNERS

    async def test_a_job_has_the_guest_that_uploads_its_take(
        self, backends: Backends, noted: Callers
    ) -> None:
        answer = await noted.send_form(NOBODY, backends.token_id, new_take())
        again = await noted.send_form(guest(answer.guest_token), backends.token_id, new_take())
        assert [("SubmitRecording", answer.guest_id)] * 2 == OWNERS
        assert again.header("x-guest-token") is None

    async def test_a_job_of_a_caller_without_the_gateway_has_no_owner(
        self, backends: Backends, noted: Callers
    ) -> None:
        await noted.stream_take({}, backends.token_id, new_take())
        await noted.create({}, backends.token_id)
        assert OWNERS == [("SubmitRecording", ""), ("OpenAnalysis", "")]

    async def test_a_row_has_the_owner_of_its_upload(
        self, backends: Backends, callers: Callers
    ) -> None:
        learner = account()
        created = await callers.create(learner, backends.token_id)
        assert await owner_of(backends, created.message.upload_id) == id_of(learner)
        partial = await callers.create_partial(learner)
        assert await owner_of(backends, upload_id_of(partial)) == id_of(learner)
        unowned = await callers.create({}, backends.token_id)
        assert await owner_of(backends, unowned.message.upload_id) is None

    async def test_the_row_of_a_reference_asset_has_the_editor(
        self, backends: Backends, callers: Callers
    ) -> None:
        editor = {**account(), "x-sori-roles": "catalog_editor"}
        found: list[int] = []

        async def voice() -> AsyncIterator[bytes]:
            yield new_take()
            while not found or not found[-1]:
                found.append(await rows_of(backends, id_of(editor)))

        await callers.upload_asset(editor, backends.token_id, voice())
        assert found[-1] == 1
        learner = account()
        refusal = await refusal_of(callers.upload_asset(learner, backends.token_id, voice()))
        assert refusal.reason == "ROLE_MISSING"


def attempts(callers: Callers) -> dict[str, Any]:
    """Every way to use an upload: each takes the metadata of a caller and the upload's id."""
    return {
        "get": callers.get,
        "write": lambda caller, upload_id: callers.write(caller, upload_id, new_take()),
        "finish": lambda caller, upload_id: callers.write(
            caller, upload_id, new_take(), finish=True
        ),
        "cancel": callers.cancel,
        "HEAD": callers.head,
        "PATCH": lambda caller, upload_id: callers.patch(caller, upload_id, new_take()),
        "DELETE": callers.delete,
    }


HOUR_SECONDS = 3600
ATTEMPTS = ("get", "write", "finish", "cancel", "HEAD", "PATCH", "DELETE")


class TestForeignUploads:
    @pytest.mark.parametrize("attempt", ATTEMPTS)
    @pytest.mark.parametrize(
        "stranger", [account(), new_guest(), NOBODY], ids=lambda each: each["x-sori-caller"]
    )
    async def test_an_upload_of_another_account_is_unknown_and_stays_as_it_is(
        self, backends: Backends, callers: Callers, attempt: str, stranger: Mapping[str, str]
    ) -> None:
        learner = account()
        upload_id = (await callers.create(learner, backends.token_id)).message.upload_id
        before = await row(backends, upload_id)
        use = attempts(callers)[attempt]
        unknown_id = str(uuid4())
        refusal = await refusal_of(use(stranger, upload_id))
        assert await row(backends, upload_id) == before
        assert refusal == Refusal("NOT_FOUND", "UPLOAD_NOT_FOUND", {"upload_id": upload_id})
        unknown = await refusal_of(use(stranger, unknown_id))
        assert unknown == Refusal("NOT_FOUND", "UPLOAD_NOT_FOUND", {"upload_id": unknown_id})
        await use(learner, upload_id)

    @pytest.mark.parametrize("attempt", ATTEMPTS)
    async def test_an_ended_upload_of_another_account_is_unknown(
        self, backends: Backends, callers: Callers, attempt: str
    ) -> None:
        learner = account()
        upload_id = (await callers.create(learner, backends.token_id)).message.upload_id
        await callers.cancel(learner, upload_id)
        refusal = await refusal_of(attempts(callers)[attempt](account(), upload_id))
        assert refusal == Refusal("NOT_FOUND", "UPLOAD_NOT_FOUND", {"upload_id": upload_id})

    @pytest.mark.parametrize("attempt", ATTEMPTS)
    @pytest.mark.parametrize("caller", [OPERATOR, {}], ids=["an operator", "another service"])
    async def test_operators_and_callers_without_the_gateway_use_every_upload(
        self, backends: Backends, callers: Callers, attempt: str, caller: Mapping[str, str]
    ) -> None:
        upload_id = (await callers.create(account(), backends.token_id)).message.upload_id
        await attempts(callers)[attempt](caller, upload_id)

    async def test_partial_uploads_of_another_account_cannot_be_concatenated(
        self, backends: Backends, callers: Callers
    ) -> None:
        learner, content = account(), new_take()
        partial = upload_id_of(await callers.create_partial(learner, SMALL, content))
        token = f"token_id {base64.b64encode(str(backends.token_id).encode()).decode()}"
        refusal = await refusal_of(callers.concatenate(account(), token, [partial]))
        assert refusal.reason == "UPLOAD_NOT_FOUND"
        await callers.concatenate(learner, token, [partial])

    @pytest.mark.parametrize("attempt", ATTEMPTS)
    async def test_the_id_of_a_guests_upload_is_a_permission_to_use_it(
        self, backends: Backends, callers: Callers, attempt: str
    ) -> None:
        for user in (NOBODY, new_guest(), account()):
            created = await callers.create(NOBODY, backends.token_id)
            await attempts(callers)[attempt](user, created.message.upload_id)

    async def test_an_upload_from_before_accounts_can_be_used_by_everyone(
        self, backends: Backends, callers: Callers
    ) -> None:
        upload_id = (await callers.create({}, backends.token_id)).message.upload_id
        for user in (NOBODY, new_guest(), account()):
            assert (await callers.get(user, upload_id)).message.upload_id == upload_id

    async def test_without_guests_only_accounts_use_uploads(self, backends: Backends) -> None:
        async with callers_of(Process(backends, guests=False)) as callers:
            for upload in [create for _, create in creations(callers, backends.token_id, b"")]:
                assert (await refusal_of(upload(NOBODY))).reason == "CREDENTIALS_MISSING"
            upload_id = (await callers.create({}, backends.token_id)).message.upload_id
            assert (await refusal_of(callers.get(NOBODY, upload_id))).code == "UNAUTHENTICATED"
            assert (await refusal_of(callers.get(account(), upload_id))).code == "NOT_FOUND"
            created = await callers.create(account(), backends.token_id)
            assert created.header("x-guest-token") is None


async def row(backends: Backends, upload_id: str) -> dict[str, Any]:
    """The row of an upload."""
    async with backends.database.transaction() as connection:
        found = await connection.execute(
            text("SELECT * FROM upload.uploads WHERE upload_id = :upload_id"),
            {"upload_id": UUID(upload_id)},
        )
        return dict(found.one()._mapping)


class TestGuests:
    @pytest.mark.parametrize("protocol", ["http", "https"])
    async def test_the_first_upload_without_an_identity_makes_a_guest(
        self, backends: Backends, callers: Callers, protocol: str
    ) -> None:
        caller = {**NOBODY, "x-forwarded-proto": protocol}
        for name, create in creations(callers, backends.token_id, new_take()):
            answer = await create(caller)
            parts = str(answer.header("set-cookie")).split("; ")
            assert parts[0] == f"sori_guest={answer.guest_token}", name
            expected = {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"}
            assert set(parts[1:]) == expected | ({"Secure"} if protocol == "https" else set())

    async def test_a_guest_owns_its_first_upload(
        self, backends: Backends, callers: Callers
    ) -> None:
        created = await callers.create(NOBODY, backends.token_id)
        assert await owner_of(backends, created.message.upload_id) == created.guest_id
        partial = await callers.create_partial(NOBODY, SMALL, new_take())
        assert await owner_of(backends, upload_id_of(partial)) == partial.guest_id

    @pytest.mark.parametrize(
        "caller", [{}, account(), new_guest(), OPERATOR], ids=["trusted", "account", "guest", "op"]
    )
    async def test_a_caller_with_an_identity_gets_no_secret(
        self, backends: Backends, callers: Callers, caller: Mapping[str, str]
    ) -> None:
        for name, create in creations(callers, backends.token_id, new_take()):
            answer = await create(caller)
            assert answer.header("set-cookie") is answer.header("x-guest-token") is None, name

    async def test_a_secret_in_another_form_is_replaced(
        self, backends: Backends, callers: Callers
    ) -> None:
        answer = await callers.create(guest("too short"), backends.token_id)
        assert await owner_of(backends, answer.message.upload_id) == answer.guest_id

    async def test_a_secret_that_lives_longer_than_a_new_one_is_replaced(
        self, backends: Backends
    ) -> None:
        made_up = guest(new_guest_token(2 * HOUR_SECONDS))
        async with callers_of(Process(backends, guest_seconds=HOUR_SECONDS)) as callers:
            answer = await callers.create(made_up, backends.token_id)
            assert f"Max-Age={HOUR_SECONDS}" in str(answer.header("set-cookie"))
            assert await owner_of(backends, answer.message.upload_id) == answer.guest_id
            again = await callers.create(guest(answer.guest_token), backends.token_id)
            assert again.header("set-cookie") is None

    @pytest.mark.parametrize("attempt", ATTEMPTS)
    async def test_an_upload_of_a_guest_that_has_expired_is_like_an_unknown_one(
        self, backends: Backends, callers: Callers, attempt: str
    ) -> None:
        # One that expires at once, while it creates its upload.
        async with callers_of(Process(backends, guest_seconds=0)) as expiring:
            created = await expiring.create(NOBODY, backends.token_id)
        for user in (guest(created.guest_token), NOBODY, new_guest(), account()):
            refusal = await refusal_of(attempts(callers)[attempt](user, created.message.upload_id))
            assert refusal.reason == "UPLOAD_NOT_FOUND"
        await callers.get(OPERATOR, created.message.upload_id)

    async def test_roles_of_callers_without_an_account_do_not_matter(
        self, backends: Backends, callers: Callers
    ) -> None:
        nobody = {**NOBODY, "x-sori-roles": "catalog_editor operator"}
        answer = await callers.create(nobody, backends.token_id)
        assert await owner_of(backends, answer.message.upload_id) == answer.guest_id


class TestRequestIds:
    async def test_a_first_request_can_be_repeated_with_and_without_the_new_secret(
        self, backends: Backends, callers: Callers
    ) -> None:
        key, content = str(uuid4()), new_take()
        token_id = backends.token_id
        first = await callers.stream_take(NOBODY, token_id, content, key)
        for caller in (NOBODY, guest(first.guest_token)):
            again = await callers.stream_take(caller, token_id, content, key)
            assert again.message.job_id == first.message.job_id
        key = str(uuid4())
        upload = await callers.create(NOBODY, token_id, request_id=key)
        for caller in (NOBODY, guest(upload.guest_token)):
            again = await callers.create(caller, token_id, request_id=key)
            assert again.message == upload.message

    async def test_an_account_with_the_key_of_another_account_gets_its_own_upload(
        self, backends: Backends, callers: Callers
    ) -> None:
        learner = account()
        for key in (str(uuid4()), f"take-{uuid4().hex[:8]}"):
            own = await callers.create(learner, backends.token_id, request_id=key)
            again = await callers.create(learner, backends.token_id, request_id=key)
            assert again.message == own.message
            for stranger in (account(), new_guest(), NOBODY, {}):
                other = await callers.create(stranger, backends.token_id, request_id=key)
                assert other.message.upload_id != own.message.upload_id

    async def test_a_guest_with_the_guessable_key_of_another_gets_its_own_upload(
        self, backends: Backends, callers: Callers
    ) -> None:
        key, own_guest = f"take-{uuid4().hex[:8]}", new_guest()
        own = await callers.create(own_guest, backends.token_id, request_id=key)
        again = await callers.create(own_guest, backends.token_id, request_id=key)
        assert again.message == own.message
        for stranger in (account(), new_guest(), NOBODY):
            other = await callers.create(stranger, backends.token_id, request_id=key)
            assert other.message.upload_id != own.message.upload_id

    async def test_the_key_of_an_upload_that_an_account_has_adopted_is_used_up(
        self, backends: Backends, callers: Callers
    ) -> None:
        key = str(uuid4())
        first = await callers.create(NOBODY, backends.token_id, request_id=key)
        await adopt(callers, first.guest_id, str(uuid4()))
        for stranger in (NOBODY, new_guest()):
            again = callers.create(stranger, backends.token_id, request_id=key)
            assert (await refusal_of(again)).reason == "REQUEST_ID_REUSED"


class TestLimits:
    async def test_open_uploads_of_an_account_count_from_every_address(
        self, backends: Backends
    ) -> None:
        process = Process(backends, open_uploads=2, account=Quota(open_uploads=1))
        learner = account()
        async with callers_of(process) as callers:
            first = await callers.create_partial(learner, x_envoy_external_address="192.0.2.1")
            another_address = callers.create_partial(
                learner, x_envoy_external_address="198.51.100.1"
            )
            assert (await refusal_of(another_address)).reason == "TOO_MANY_OPEN_UPLOADS"
            await callers.cancel(learner, upload_id_of(first))
            await callers.create_partial(learner)

    async def test_accounts_at_one_address_do_not_share_a_limit(self, backends: Backends) -> None:
        process = Process(backends, open_uploads=1, account=Quota(open_uploads=1))
        async with callers_of(process) as callers:
            for _ in range(2):
                await callers.create_partial(account(), x_envoy_external_address="192.0.2.77")

    async def test_guests_count_by_their_address(self, backends: Backends) -> None:
        address = f"198.18.{randrange(256)}.{randrange(256)}"
        async with callers_of(Process(backends, open_uploads=1)) as callers:
            await callers.create_partial(new_guest(), x_envoy_external_address=address)
            for caller in (new_guest(), NOBODY):
                another = callers.create_partial(caller, x_envoy_external_address=address)
                assert (await refusal_of(another)).reason == "TOO_MANY_OPEN_UPLOADS"

    async def test_bytes_of_an_account_count_for_its_day(self, backends: Backends) -> None:
        process = Process(backends, daily_bytes=10 * MIB, account=Quota(daily_bytes=SMALL))
        learner = account()
        async with callers_of(process) as callers:
            await callers.stream_take(learner, backends.token_id, new_take())
            await process.client_limits.save()
            refused = await refusal_of(callers.stream_take(learner, backends.token_id, new_take()))
            assert refused.reason == "DAILY_BYTES_EXCEEDED"
            assert refused.metadata["limit_bytes"] == str(SMALL)
            await callers.stream_take(account(), backends.token_id, new_take())


async def adopt(callers: Callers, from_id: str, to_id: str) -> int:
    request = upload_pb2.AdoptUploadsRequest(from_owner_id=from_id, to_owner_id=to_id)
    answer: upload_pb2.AdoptUploadsResponse = await callers.owners.AdoptUploads(request)
    return answer.adopted


async def erase(callers: Callers, owner_id: str) -> tuple[int, bool, int]:
    """Erase what belongs to an owner; returns what the call erased, and what is left."""
    request = upload_pb2.EraseUploadsRequest(owner_id=owner_id)
    answer: upload_pb2.EraseUploadsResponse = await callers.owners.EraseUploads(request)
    return answer.erased, answer.has_more, answer.pending


class TestAdoption:
    async def test_a_guest_who_signs_up_keeps_its_uploads(
        self, backends: Backends, callers: Callers
    ) -> None:
        learner = account()
        created = await callers.create(NOBODY, backends.token_id)
        upload_id, own = created.message.upload_id, guest(created.guest_token)
        await callers.create_partial(own)
        others = await callers.create_partial(NOBODY)
        assert await adopt(callers, created.guest_id, id_of(learner)) == 2
        assert await adopt(callers, created.guest_id, id_of(learner)) == 0
        assert (await callers.get(learner, upload_id)).message.upload_id == upload_id
        for stranger in (own, NOBODY, account()):
            assert (await refusal_of(callers.get(stranger, upload_id))).code == "NOT_FOUND"
        assert await owner_of(backends, upload_id_of(others)) == others.guest_id

    async def test_a_write_that_runs_meanwhile_succeeds(self, backends: Backends) -> None:
        process = Process(backends)
        async with callers_of(process) as callers:
            created = await callers.create_partial(NOBODY, SMALL)

            async def content() -> AsyncGenerator[bytes]:
                yield new_take()
                await adopt(callers, created.guest_id, str(uuid4()))

            upload = await process.uploads.write(
                upload_id_of(created), Caller(created.guest_id), 0, content()
            )
            assert upload.committed_size == SMALL

    @pytest.mark.parametrize(
        ("from_id", "to_id", "field"),
        [
            ("", "an account", "from_owner_id"),
            ("an account", "another account", "from_owner_id"),
            ("guest:a", "", "to_owner_id"),
            ("guest:a", "guest:b", "to_owner_id"),
            ("guest:a", "x" * 256, "to_owner_id"),
        ],
    )
    async def test_only_accounts_adopt_and_only_from_guests(
        self, callers: Callers, from_id: str, to_id: str, field: str
    ) -> None:
        refusal = await refusal_of(adopt(callers, from_id, to_id))
        assert (refusal.code, refusal.metadata["field"]) == ("INVALID_ARGUMENT", field)


class TestErasure:
    async def test_nothing_of_an_erased_account_is_left(self, backends: Backends) -> None:
        process = Process(backends, account=Quota(daily_bytes=1024 * MIB))
        learner, other = account(), account()
        async with callers_of(process) as callers:
            token_id = backends.token_id
            open_id = (await callers.create(learner, token_id)).message.upload_id
            await callers.write(learner, open_id, new_take(MIB))
            partial = upload_id_of(await callers.create_partial(learner, SMALL, new_take()))
            completed = (await callers.create(learner, token_id)).message
            await callers.write(learner, completed.upload_id, new_take(), finish=True)
            kept = upload_id_of(await callers.create_partial(other, SMALL, new_take()))
            await process.client_limits.save()
            ids = [UUID(open_id), partial, UUID(completed.upload_id)]
            records = [await process.store.get(each) for each in ids]
            job_id = records[0].upload.job_id

            assert await erase(callers, id_of(learner)) == (3, False, 3)
            assert (await backends.job(job_id))[0] == "failed"
            await assert_nothing_left_in_s3(backends, records[0])
            for each in ids:
                assert (await refusal_of(callers.get(learner, each))).code == "NOT_FOUND"
            # As if superseded writers had noticed.
            await process.make_due(ids)
            await process.reap_due()
            assert await erase(callers, id_of(learner)) == (0, False, 0)

            assert await rows_of(backends, id_of(learner)) == 0
            for record in records[:2]:
                await assert_nothing_left_in_s3(backends, record)
            # Its analysis has the recording, and is erased by the analysis service.
            assert await backends.stored_objects(recording_key(token_id, UUID(completed.job_id)))
            assert (await callers.get(other, kept)).message.committed_size == SMALL

    async def test_many_uploads_are_erased_in_several_calls(
        self, backends: Backends, callers: Callers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(owners, "ERASED_AT_ONCE", 2)
        learner = account()
        for _ in range(3):
            await callers.create_partial(learner)
        assert await erase(callers, id_of(learner)) == (2, True, 2)
        assert await erase(callers, id_of(learner)) == (1, False, 3)

    async def test_a_running_upload_ends(self, backends: Backends) -> None:
        process, learner = Process(backends), account()
        async with callers_of(process) as callers:
            created = await callers.create_partial(learner, LARGE)

            async def content() -> AsyncGenerator[bytes]:
                yield random_content(MIB)
                await erase(callers, id_of(learner))
                yield random_content(LARGE - MIB)

            with pytest.raises(UploadEnded):
                await process.uploads.write(
                    upload_id_of(created), Caller(id_of(learner), is_account=True), 0, content()
                )
            record = await process.store.get(upload_id_of(created))
            await process.make_due([upload_id_of(created)])
            await process.reap_due()
            await assert_nothing_left_in_s3(backends, record)
            assert await erase(callers, id_of(learner)) == (0, False, 0)

    async def test_an_erasure_continues_after_an_outage_of_analysis(
        self, backends: Backends
    ) -> None:
        learner = account()
        async with callers_of(Process(backends)) as callers:
            await callers.create(learner, backends.token_id)
        without_analysis = Backends(**{**vars(backends), "analysis_address": "127.0.0.1:9"})
        async with callers_of(Process(without_analysis)) as callers:
            assert (await refusal_of(erase(callers, id_of(learner)))).code == "UNAVAILABLE"
        async with callers_of(Process(backends)) as callers:
            assert await erase(callers, id_of(learner)) == (1, False, 1)

    async def test_an_owner_is_required(self, callers: Callers) -> None:
        assert (await refusal_of(erase(callers, ""))).code == "INVALID_ARGUMENT"

    async def test_counts_of_another_account_stay(self, backends: Backends) -> None:
        process, other = Process(backends, account=Quota(daily_bytes=MIB)), str(uuid4())
        process.client_limits.count(account_client(other), 1)
        await process.client_limits.save()
        async with callers_of(process) as callers:
            await erase(callers, str(uuid4()))
        assert await rows_of(backends, other) == 1

    @pytest.mark.parametrize("caller", [NOBODY, account(), OPERATOR])
    async def test_persons_cannot_erase(self, callers: Callers, caller: Mapping[str, str]) -> None:
        request = upload_pb2.EraseUploadsRequest(owner_id="someone")
        call = callers.owners.EraseUploads(request, metadata=tuple(caller.items()))
        assert (await refusal_of(call)).reason == "ROLE_MISSING"

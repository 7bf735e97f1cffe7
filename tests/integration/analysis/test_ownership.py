"""Owners of analyses over gRPC: to other learners, an analysis is like one that never existed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast
from uuid import UUID

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pydantic import SecretStr

from services.analysis.notifications import JobNotifications
from services.analysis.progress import ProgressFeed
from services.analysis.report_parser import ReportParser
from services.analysis.servicer import AnalysisServicer
from services.analysis.settings import AnalysisSettings
from services.analysis.store import Deletions, JobStore, Submission
from services.analysis.webhook import WebhookSigner
from services.runtime.access import AccessCheck
from services.runtime.callers import guest_owner_id, new_guest_token
from services.runtime.database import Database
from services.runtime.ids import random_uuid7
from services.runtime.interceptors import CallInterceptor
from sori.analysis.v1 import analysis_pb2 as pb
from sori.analysis.v1 import analysis_pb2_grpc
from tests.integration.analysis.jobs import LONG, RECORDING
from tests.integration.plans import statements_of

Metadata = tuple[tuple[str, str], ...]
Stub: TypeAlias = "analysis_pb2_grpc.AnalysisServiceAsyncStub"
Call: TypeAlias = "Callable[[Stub, str, Metadata], Awaitable[Any]]"

GUEST_TOKEN = new_guest_token()
SETTLED_SECONDS = 60
"""The age of the ids of these jobs: watches do not wait for jobs with such ids."""


def account(account_id: str, roles: str = "") -> Metadata:
    """What the gateway states for a caller with an account."""
    return (
        ("x-sori-caller", "account"),
        ("x-sori-account", account_id),
        ("x-sori-roles", roles),
    )


OWNER, OTHER = account("account-a"), account("account-b")
OPERATOR = account("account-o", "operator")
GUEST: Metadata = (("x-sori-caller", "guest"), ("x-sori-guest-token", GUEST_TOKEN))
NOBODY: Metadata = (("x-sori-caller", "nobody"),)
WITHOUT_GATEWAY: Metadata = ()


async def watch(stub: Stub, job_id: str, metadata: Metadata) -> Any:
    """The first state that a watcher gets."""
    call = stub.WatchAnalysis(pb.WatchAnalysisRequest(job_id=job_id), metadata=metadata)
    try:
        return await anext(aiter(call))
    finally:
        call.cancel()


CALLS: dict[str, Call] = {
    "GetAnalysisResult": lambda stub, job_id, metadata: stub.GetAnalysisResult(
        pb.GetAnalysisResultRequest(job_id=job_id), metadata=metadata
    ),
    "WatchAnalysis": watch,
    "GetAnalysis": lambda stub, job_id, metadata: stub.GetAnalysis(
        pb.GetAnalysisRequest(job_id=job_id), metadata=metadata
    ),
    "CancelAnalysis": lambda stub, job_id, metadata: stub.CancelAnalysis(
        pb.CancelAnalysisRequest(job_id=job_id), metadata=metadata
    ),
    "RetryAnalysis": lambda stub, job_id, metadata: stub.RetryAnalysis(
        pb.RetryAnalysisRequest(job_id=job_id), metadata=metadata
    ),
    "DeleteAnalysis": lambda stub, job_id, metadata: stub.DeleteAnalysis(
        pb.DeleteAnalysisRequest(job_id=job_id), metadata=metadata
    ),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@asynccontextmanager
async def serving(
    database: Database, store: JobStore, *, guests: bool = True
) -> AsyncIterator[Stub]:
    settings = AnalysisSettings(
        webhook_signing_key=SecretStr("a key of some length"), guests_admitted=guests
    )
    notifications = JobNotifications(database)
    servicer = AnalysisServicer(
        settings,
        store,
        Deletions(database, notifications.notify),
        ProgressFeed(store, heartbeat_seconds=60),
        cast(WebhookSigner, None),
        cast(ReportParser, None),
    )
    server = grpc.aio.server(interceptors=[CallInterceptor(), AccessCheck(guests=guests)])
    analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield analysis_pb2_grpc.AnalysisServiceStub(channel)
    await server.stop(None)


@pytest.fixture
async def stub(database: Database, store: JobStore) -> AsyncIterator[Stub]:
    async with serving(database, store) as stub:
        yield stub


def settled_id() -> UUID:
    return UUID(int=random_uuid7().int - (SETTLED_SECONDS * 1000 << 80))


async def submitted(store: JobStore, owner_id: str | None) -> UUID:
    submission = Submission(settled_id(), 1, RECORDING, owner_id=owner_id)
    return await store.submit(submission, LONG, None)


async def failed(store: JobStore, owner_id: str | None) -> str:
    """A job that its owner may retry."""
    job_id = await submitted(store, owner_id)
    await store.fail(job_id, "SILENT_AUDIO", "")
    return str(job_id)


async def refusal_of(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, str]:
    """The status, the message and the reason with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status: Any = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value.code(), caught.value.details() or "", info.reason


async def listed(stub: Stub, metadata: Metadata, **fields: Any) -> list[str]:
    answer = await stub.ListAnalyses(pb.ListAnalysesRequest(**fields), metadata=metadata)
    return [analysis.job_id for analysis in answer.analyses]


@every_call
@pytest.mark.parametrize("caller", [OTHER, GUEST, NOBODY], ids=["learner", "guest", "nobody"])
async def test_an_analysis_of_another_owner_is_like_an_unknown_one(
    database: Database, store: JobStore, stub: Stub, caller: Metadata, call: Call
) -> None:
    foreign, unknown = await failed(store, "account-a"), str(settled_id())
    refusals, counts = [], []
    for job_id in (foreign, unknown):
        refusal = refusal_of(call(stub, job_id, caller))

        async def called(refusal: Awaitable[Any] = refusal, job_id: str = job_id) -> None:
            code, message, reason = await refusal
            refusals.append((code, message.replace(job_id, "JOB"), reason))

        counts.append([statement for statement, _ in await statements_of(database, called())])
    assert refusals[0] == refusals[1]
    assert refusals[0][0] is grpc.StatusCode.NOT_FOUND
    assert refusals[0][2] == "JOB_NOT_FOUND"
    # The same statements, so that the time of the answer reveals nothing either.
    assert counts[0] == counts[1]
    assert (await store.get(UUID(foreign))).failure_reason == "SILENT_AUDIO"


@every_call
@pytest.mark.parametrize(
    "caller", [OWNER, OPERATOR, WITHOUT_GATEWAY], ids=["owner", "operator", "without gateway"]
)
async def test_owners_operators_and_services_use_an_analysis(
    store: JobStore, stub: Stub, caller: Metadata, call: Call
) -> None:
    if call is CALLS["CancelAnalysis"]:
        job_id = str(await submitted(store, "account-a"))
    else:
        job_id = await failed(store, "account-a")
    await call(stub, job_id, caller)


@every_call
async def test_everyone_who_knows_the_id_uses_an_analysis_of_a_guest(
    store: JobStore, stub: Stub, call: Call
) -> None:
    owner_id = guest_owner_id(new_guest_token())
    if call is CALLS["CancelAnalysis"]:
        job_id = str(await submitted(store, owner_id))
    else:
        job_id = await failed(store, owner_id)
    await call(stub, job_id, OTHER)


@every_call
async def test_an_analysis_of_a_guest_that_has_expired_is_like_an_unknown_one(
    store: JobStore, stub: Stub, call: Call
) -> None:
    expired = new_guest_token(-1)
    job_id = await failed(store, guest_owner_id(expired))
    own = (("x-sori-caller", "guest"), ("x-sori-guest-token", expired))
    for metadata in (own, GUEST, OTHER, NOBODY):
        _, _, reason = await refusal_of(call(stub, job_id, metadata))
        assert reason == "JOB_NOT_FOUND"
    assert await listed(stub, own) == []
    await CALLS["GetAnalysis"](stub, job_id, OPERATOR)


async def test_without_guests_the_analyses_of_guests_exist_only_for_operators(
    database: Database, store: JobStore
) -> None:
    job_ids = [await failed(store, owner) for owner in (None, guest_owner_id(GUEST_TOKEN))]
    async with serving(database, store, guests=False) as stub:
        for job_id in job_ids:
            _, _, reason = await refusal_of(CALLS["GetAnalysis"](stub, job_id, OWNER))
            assert reason == "JOB_NOT_FOUND"
            await CALLS["GetAnalysis"](stub, job_id, OPERATOR)


async def test_deleting_an_analysis_of_another_owner_with_allow_missing_changes_nothing(
    store: JobStore, stub: Stub
) -> None:
    job_id = await failed(store, "account-a")
    request = pb.DeleteAnalysisRequest(job_id=job_id, allow_missing=True)
    await stub.DeleteAnalysis(request, metadata=OTHER)
    await store.get(UUID(job_id))


async def test_a_retry_belongs_to_the_owner_of_the_failed_analysis(
    store: JobStore, stub: Stub
) -> None:
    retry = await CALLS["RetryAnalysis"](stub, await failed(store, "account-a"), OPERATOR)
    assert retry.owner_id == "account-a"
    assert (await CALLS["GetAnalysis"](stub, retry.job_id, OWNER)).job_id == retry.job_id


async def test_an_analysis_names_its_account_and_no_guest(store: JobStore, stub: Stub) -> None:
    owners = {}
    for owner_id in ("account-a", guest_owner_id(GUEST_TOKEN), None):
        job_id = str(await submitted(store, owner_id))
        owners[owner_id] = (await CALLS["GetAnalysis"](stub, job_id, OPERATOR)).owner_id
    assert list(owners.values()) == ["account-a", "", ""]


class TestLists:
    """ListAnalyses."""

    @pytest.fixture
    async def job_ids(self, store: JobStore) -> dict[str, str]:
        """A job of each owner, by the owner."""
        owners = {"a": "account-a", "b": "account-b", "guest": guest_owner_id(GUEST_TOKEN)}
        job_ids = {name: str(await submitted(store, each)) for name, each in owners.items()}
        return job_ids | {"none": str(await submitted(store, None))}

    @pytest.mark.parametrize(
        ("caller", "expected"),
        [
            (OWNER, ["a"]),
            (OTHER, ["b"]),
            (GUEST, ["guest"]),
            (NOBODY, []),
            (OPERATOR, ["a", "b", "guest", "none"]),
            (WITHOUT_GATEWAY, ["a", "b", "guest", "none"]),
        ],
        ids=["learner", "other learner", "guest", "nobody", "operator", "without gateway"],
    )
    async def test_callers_list_their_own_analyses_and_operators_all(
        self, stub: Stub, job_ids: dict[str, str], caller: Metadata, expected: list[str]
    ) -> None:
        assert {*await listed(stub, caller)} == {job_ids[name] for name in expected}

    async def test_an_operator_lists_those_of_one_owner(
        self, stub: Stub, job_ids: dict[str, str]
    ) -> None:
        assert await listed(stub, OPERATOR, owner_id="account-a") == [job_ids["a"]]
        assert await listed(stub, OPERATOR, owner_id="account-x") == []

    async def test_a_learner_may_name_itself_and_nobody_else(
        self, stub: Stub, job_ids: dict[str, str]
    ) -> None:
        assert await listed(stub, OWNER, owner_id="account-a") == [job_ids["a"]]
        code, _, reason = await refusal_of(listed(stub, OWNER, owner_id="account-b"))
        assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")

    async def test_a_page_token_is_for_the_list_of_one_owner(
        self, store: JobStore, stub: Stub, job_ids: dict[str, str]
    ) -> None:
        await submitted(store, "account-a")
        request = pb.ListAnalysesRequest(page_size=1)
        token = (await stub.ListAnalyses(request, metadata=OWNER)).next_page_token
        assert await listed(stub, OWNER, page_token=token) == [job_ids["a"]]
        # The same list, asked for by an operator.
        named: dict[str, Any] = {"owner_id": "account-a", "page_token": token}
        assert await listed(stub, OPERATOR, **named) == [job_ids["a"]]
        for caller in (OTHER, GUEST, OPERATOR):
            _, _, reason = await refusal_of(listed(stub, caller, page_token=token))
            assert reason == "INVALID_FIELD"

    @pytest.mark.parametrize("owner_id", ["x" * 256, "\0"], ids=["too long", "NUL"])
    async def test_an_invalid_owner_is_refused(self, stub: Stub, owner_id: str) -> None:
        _, _, reason = await refusal_of(listed(stub, OPERATOR, owner_id=owner_id))
        assert reason == "INVALID_FIELD"

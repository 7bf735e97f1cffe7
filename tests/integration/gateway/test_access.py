"""The gateway admits the callers that the contract names, over every protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool

from services.registry import SERVICES
from services.runtime.access import Rule
from services.runtime.callers import Caller
from services.runtime.errors import SoriError
from sori.access.v1.access_pb2 import Access
from tests.integration.gateway.callers import GUEST, call, connect, grpc_web, headers_of, status_of
from tests.integration.gateway.fake_services import NAMES, Services
from tests.integration.gateway.issuer import bearer, claims
from tests.integration.gateway.process import Gateway, reason

CALLERS = ("nobody", "guest", "learner", "editor", "operator")
WEBHOOK = "/tokens/webhook/analysis-complete?job_id=unread"
CALLS = {
    "PUBLIC": ("GET", "/tokens/1", "/sori.catalog.v1.CatalogService/GetToken"),
    "LEARNER": ("GET", "/analyses", "/sori.analysis.v1.AnalysisService/ListAnalyses"),
    "OWNER": ("GET", "/analyses/1", "/sori.analysis.v1.AnalysisService/GetAnalysis"),
    "ACCOUNT": ("GET", "/auth/me", "/sori.accounts.v1.AccountService/GetMe"),
    "CATALOG_EDITOR": ("POST", "/tokens", "/sori.catalog.v1.CatalogService/CreateToken"),
    "OPERATOR": ("GET", "/accounts", "/sori.accounts.v1.AccountAdminService/ListAccounts"),
    "ANALYSIS_SERVER": ("POST", WEBHOOK, "/sori.analysis.v1.AnalysisService/ReportAnalysis"),
}
"""A call for each access: the HTTP method and path, and the rpc."""

ADMITTED = (200, 200, 200, 200, 200)
ACCOUNTS_ONLY = (401, 401, 200, 200, 200)
EDITORS_ONLY = (401, 401, 403, 200, 200)
OPERATORS_ONLY = (401, 401, 403, 403, 200)
OPEN = {
    "PUBLIC": ADMITTED,
    "LEARNER": ADMITTED,
    "OWNER": ADMITTED,
    "ACCOUNT": ACCOUNTS_ONLY,
    "CATALOG_EDITOR": EDITORS_ONLY,
    "OPERATOR": OPERATORS_ONLY,
    "ANALYSIS_SERVER": ADMITTED,
}
"""The statuses for each caller while guests are admitted and the catalog is public."""
CLOSED = OPEN | dict.fromkeys(("PUBLIC", "LEARNER", "OWNER"), ACCOUNTS_ONLY)
"""The statuses while neither is so."""

CELLS = [
    pytest.param(access, caller, status, id=f"{access}-{caller}-{status}")
    for access, statuses in OPEN.items()
    for caller, status in zip(CALLERS, statuses, strict=True)
]
CLOSED_CELLS = [
    pytest.param(access, caller, status, id=f"{access}-{caller}-{status}")
    for access, statuses in CLOSED.items()
    for caller, status in zip(CALLERS, statuses, strict=True)
]
REASONS = {401: "CREDENTIALS_MISSING", 403: "ROLE_MISSING"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Gateway:
    folder = tmp_path_factory.mktemp("open")
    return Gateway(folder, services, gateway_anonymous_roles="")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[httpx.Client]:
    gateway = Gateway(
        tmp_path_factory.mktemp("closed"),
        services,
        gateway_anonymous_roles="",
        guests_admitted=False,
        catalog_public=False,
    )
    with gateway.running() as client:
        yield client


@pytest.fixture(scope="module")
def closed_channel(closed: httpx.Client) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"{closed.base_url.host}:{closed.base_url.port}") as channel:
        yield channel


def check_http(client: httpx.Client, access: str, headers: dict[str, str], status: int) -> None:
    method, path, _ = CALLS[access]
    answer = client.request(method, path, headers=headers, json={} if method == "POST" else None)
    assert answer.status_code == status
    if status in REASONS:
        assert reason(answer) == REASONS[status]
        assert ("www-authenticate" in answer.headers) is (status == 401)


@pytest.mark.parametrize(("access", "caller", "status"), CELLS)
def test_http_admits_the_callers_of_the_contract(
    client: httpx.Client, services: Services, access: str, caller: str, status: int
) -> None:
    check_http(client, access, headers_of(caller, services.key), status)


@pytest.mark.parametrize(("access", "caller", "status"), CELLS)
def test_grpc_admits_the_callers_of_the_contract(
    channel: grpc.Channel, services: Services, access: str, caller: str, status: int
) -> None:
    code = call(channel, CALLS[access][2], headers_of(caller, services.key))
    assert status_of(code) == status


@pytest.mark.parametrize(("access", "caller", "status"), CLOSED_CELLS)
def test_settings_shut_out_guests_over_http(
    closed: httpx.Client, services: Services, access: str, caller: str, status: int
) -> None:
    check_http(closed, access, headers_of(caller, services.key), status)


@pytest.mark.parametrize(("access", "caller", "status"), CLOSED_CELLS)
def test_settings_shut_out_guests_over_grpc(
    closed_channel: grpc.Channel, services: Services, access: str, caller: str, status: int
) -> None:
    code = call(closed_channel, CALLS[access][2], headers_of(caller, services.key))
    assert status_of(code) == status


@pytest.mark.parametrize(("caller", "code"), [("nobody", "16"), ("learner", "7"), ("editor", "0")])
def test_grpc_web_has_the_same_rules(
    client: httpx.Client, services: Services, caller: str, code: str
) -> None:
    rpc = CALLS["CATALOG_EDITOR"][2]
    assert grpc_web(client, rpc, headers_of(caller, services.key))[0] == code


@pytest.mark.parametrize(("caller", "status"), [("nobody", 401), ("learner", 403), ("editor", 200)])
def test_connect_has_the_same_rules(
    client: httpx.Client, services: Services, caller: str, status: int
) -> None:
    rpc = CALLS["CATALOG_EDITOR"][2]
    assert connect(client, rpc, headers_of(caller, services.key)).status_code == status


RPCS = [
    f"/{name}/{method.name}"
    for service in SERVICES
    for name in service.public
    for method in descriptor_pool.Default().FindServiceByName(name).methods
]
KNOWN = {
    "nobody": Caller(),
    "guest": Caller(f"guest:{GUEST}"),
    "learner": Caller("learner", is_account=True),
    "editor": Caller("editor", frozenset({"catalog_editor"}), is_account=True),
    "operator": Caller("operator", frozenset({"operator"}), is_account=True),
}


def decision_of_service(rpc: str, caller: Caller, *, is_open: bool) -> int:
    """The status that a service's own check decides on; 200 if it admits the caller."""
    service, _, name = rpc.strip("/").partition("/")
    method: Any = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    rule = Rule.of(method)
    if not is_open and service in SERVICES[0].public and rule.access == Access.ACCESS_PUBLIC:
        rule = Rule(Access.ACCESS_LEARNER)
    try:
        rule.check(caller, guests=is_open)
    except SoriError as error:
        return {"CREDENTIALS_MISSING": 401, "ROLE_MISSING": 403}[error.reason]
    return 200


def decisions(channel: grpc.Channel, services: Services, rpc: str) -> dict[str, int]:
    """The HTTP status of the gateway for each caller; 200 if the call reaches a service."""
    return {
        caller: status_of(call(channel, rpc, headers_of(caller, services.key)))
        for caller in CALLERS
    }


@pytest.mark.parametrize("rpc", RPCS)
def test_gateway_and_services_decide_the_same(
    channel: grpc.Channel, services: Services, rpc: str
) -> None:
    assert decisions(channel, services, rpc) == {
        name: decision_of_service(rpc, caller, is_open=True) for name, caller in KNOWN.items()
    }


@pytest.mark.parametrize("rpc", RPCS)
def test_gateway_and_services_shut_out_the_same_guests(
    closed_channel: grpc.Channel, services: Services, rpc: str
) -> None:
    assert decisions(closed_channel, services, rpc) == {
        name: decision_of_service(rpc, caller, is_open=False) for name, caller in KNOWN.items()
    }


def test_an_unknown_rpc_of_a_public_service_is_refused(channel: grpc.Channel) -> None:
    code = call(channel, "/sori.catalog.v1.CatalogService/Unknown", {})
    assert code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("name", [n for service in SERVICES for n in service.internal])
def test_an_internal_service_is_not_routed(
    channel: grpc.Channel, services: Services, name: str
) -> None:
    methods = descriptor_pool.Default().FindServiceByName(name).methods
    operator = bearer(services.key.signed(claims("operator")))
    for method in methods:
        code = call(channel, f"/{name}/{method.name}", operator)
        assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("languages", "locale", "message"),
    [
        (None, "ko", "로그인이 필요합니다. 로그인한 뒤 다시 시도해 주세요."),
        ("ko-KR,ko;q=0.9", "ko", "로그인이 필요합니다. 로그인한 뒤 다시 시도해 주세요."),
        ("en-US,en;q=0.9", "en", "You need to log in. Log in, then try again."),
        ("EN", "en", "You need to log in. Log in, then try again."),
    ],
)
def test_a_learner_reads_the_refusal_in_their_language(
    client: httpx.Client, languages: str | None, locale: str, message: str
) -> None:
    headers = {"accept-language": languages} if languages else {}
    learner = client.get("/auth/me", headers=headers).json()["details"][1]
    assert learner["@type"] == "type.googleapis.com/google.rpc.LocalizedMessage"
    assert (learner["locale"], learner["message"]) == (locale, message)


def test_every_public_service_is_covered() -> None:
    assert {rpc.split("/")[1] for rpc in RPCS} == set(NAMES)

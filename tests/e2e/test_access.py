"""Every cell of docs/access.md, tried on the real gateway and the real services."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import grpc
import httpx
import pytest
import trustme
from google.protobuf import descriptor_pool

from gateway.contract import Binding, read_bindings
from gateway.settings import GatewaySettings
from services.registry import SERVICE_NAMES, SERVICES
from services.runtime.access import GATEWAY, Rule, rule_of
from services.runtime.access_page import COLUMNS, Column, outcome, outcome_of_service
from services.runtime.callers import new_guest_token
from services.runtime.tls import Tls, blocking_channel
from sori.access.v1.access_pb2 import Access
from stack.stack import Stack
from tests.e2e.access_cells import Rpc, Uploads, answer_by_grpc, answer_by_http
from tests.e2e.analysis_server import AnalysisServer
from tests.e2e.product import Product, plain_http
from tests.stacks import new_stack, outside

PASSWORD = "tidal-lamp-orbit"
PUBLIC = {name for service in SERVICES for name in service.public}
RPCS = [
    f"/{name}/{method.name}"
    for service in SERVICES
    for name in service.proto_services
    for method in descriptor_pool.Default().FindServiceByName(name).methods
]
PUBLIC_RPCS = [rpc for rpc in RPCS if rpc.split("/")[1] in PUBLIC]
INTERNAL_RPCS = [rpc for rpc in RPCS if rpc not in PUBLIC_RPCS]
BINDINGS = read_bindings(GatewaySettings().gateway_descriptor, PUBLIC)
Answer = Callable[[Mapping[str, str], Mapping[str, str]], str]
"""Calls an rpc with headers and fields of a request; returns the cell."""
STRANGER = "reports"
"""The name in the certificate of a program that is not part of the suite."""


class Certificates:
    """Issues certificates of one authority."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder

    def of(self, *names: str) -> Tls:
        """The files of a program whose certificate has these names."""
        folder = self._folder / names[0]
        folder.mkdir()
        tls = Tls(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
        issued = self._authority.issue_cert(*names)
        issued.cert_chain_pems[0].write_to_path(str(tls.certificate_file))
        issued.private_key_pem.write_to_path(str(tls.key_file))
        self._authority.cert_pem.write_to_path(str(tls.ca_file))
        return tls


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    certificates: Certificates,
    analysis_server: AnalysisServer,
) -> Iterator[Stack]:
    """The product with mutual TLS between its parts; all limits of callers are off."""
    own = certificates.of(outside(), "127.0.0.1", "localhost", GATEWAY, *SERVICE_NAMES)
    environment = {
        "TARGET_SERVER_URL": analysis_server.url,
        "TLS_CERTIFICATE_FILE": str(own.certificate_file),
        "TLS_KEY_FILE": str(own.key_file),
        "TLS_CA_FILE": str(own.ca_file),
        "GATEWAY_ANONYMOUS_ROLES": "",
        "ACCESS_TOKEN_SECONDS": "3600",
        **dict.fromkeys(
            (
                "ACCOUNTS_GUESSES_PER_ADDRESS",
                "ACCOUNTS_MAILS_PER_ADDRESS",
                "ACCOUNT_MAX_OPEN_UPLOADS",
                "CLIENT_MAX_OPEN_UPLOADS",
                "MAX_JOBS_PER_OWNER",
            ),
            "0",
        ),
    }
    with new_stack(tmp_path_factory.mktemp("stack"), environment) as stack:
        yield stack


@pytest.fixture(scope="module")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with plain_http(stack.gateway_url, 30) as client:
        # Each call states its caller.
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client


@pytest.fixture(scope="module")
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stack.gateway_address) as channel:
        yield channel


@dataclass(frozen=True)
class Callers:
    """The headers of the callers of each column, and those of the owners of their resources."""

    headers: Mapping[str, Mapping[str, str]]

    def owner_of(self, column: Column) -> Mapping[str, str]:
        """The headers of the owner of the resource that a column names."""
        if column.owner_id.startswith("guest:"):
            return self.headers["guest"]
        return self.headers["owner"]


def account_of(http: httpx.Client, name: str) -> str:
    """Sign up; returns the e-mail address."""
    email = f"{name}-{uuid.uuid4()}@example.com"
    answer = http.post("/auth/signup", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return email


def logged_in(http: httpx.Client, email: str) -> dict[str, str]:
    answer = http.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def grant(stack: Stack, email: str, role: str) -> None:
    command = [sys.executable, "-m", "services.accounts.cli", "grant-role", email, role]
    subprocess.run(command, env=dict(stack.environment), check=True, capture_output=True)


@pytest.fixture(scope="module")
def callers(stack: Stack, http: httpx.Client) -> Callers:
    emails = {name: account_of(http, name) for name in ("owner", "other", "editor", "operator")}
    grant(stack, emails["editor"], "catalog_editor")
    grant(stack, emails["operator"], "operator")
    accounts = {name: logged_in(http, email) for name, email in emails.items()}
    return Callers(
        {
            "nobody": {},
            "guest": {"x-guest-token": new_guest_token()},
            "learner": accounts["owner"],
            "analysis server": {},
            **accounts,
        }
    )


@pytest.fixture(scope="module")
def uploads(channel: grpc.Channel) -> Uploads:
    return Uploads(channel)


@pytest.fixture(scope="module")
def report(stack: Stack, http: httpx.Client, analysis_server: AnalysisServer) -> dict[str, str]:
    """The parameters of the webhook URL of a job."""
    analysis_server.hold(1)
    job_id = Product(stack, http).upload_sample(1)
    query = urlsplit(analysis_server.job(job_id)["webhook_url"]).query
    return dict(parse_qsl(query))


@dataclass(frozen=True)
class Table:
    """Calls an rpc as the caller of each column."""

    callers: Callers
    uploads: Uploads
    report: Mapping[str, str]

    def values(self, rule: Rule, column: Column) -> Mapping[str, str]:
        """The fields of a request; a resource is not used twice, because calls change it."""
        if rule.access == Access.ACCESS_ANALYSIS_SERVER:
            is_signed = column.title == "analysis server"
            return self.report if is_signed else {**self.report, "signature": ""}
        if rule.access == Access.ACCESS_OWNER:
            return self.uploads.new(self.callers.owner_of(column))
        return {}


@pytest.fixture(scope="module")
def table(callers: Callers, uploads: Uploads, report: dict[str, str]) -> Table:
    return Table(callers, uploads, report)


def cells(table: Table, rule: Rule, answer: Answer) -> dict[str, str]:
    """The cells of an rpc as they turn out."""

    def cell_of(column: Column) -> str:
        headers = table.callers.headers[column.title]
        return seen(answer(headers, table.values(rule, column)), rule)

    # A watch of an unknown job waits for the job.
    with ThreadPoolExecutor(len(COLUMNS)) as executor:
        found = executor.map(cell_of, COLUMNS)
    return {column.title: each for column, each in zip(COLUMNS, found, strict=True)}


def seen(answer: str, rule: Rule) -> str:
    """The cell. Where a resource has no owner, an unknown id has nothing to do with access."""
    return "yes" if answer == "404" and rule.access != Access.ACCESS_OWNER else answer


def row(rule: Rule) -> dict[str, str]:
    """The cells that the table has for an rpc."""
    return {column.title: outcome(rule, column) for column in COLUMNS}


@pytest.mark.parametrize("rpc", PUBLIC_RPCS)
def test_every_cell_holds_over_grpc(channel: grpc.Channel, table: Table, rpc: str) -> None:
    rule, call = rule_of(rpc), partial(answer_by_grpc, channel, Rpc.of(rpc))
    assert cells(table, rule, call) == row(rule)


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda each: f"{each.verb} {each.template}")
def test_every_cell_holds_over_http(http: httpx.Client, table: Table, binding: Binding) -> None:
    rule, call = rule_of(binding.rpc), partial(answer_by_http, http, binding)
    assert cells(table, rule, call) == row(rule)


@pytest.mark.parametrize("rpc", INTERNAL_RPCS)
def test_no_client_reaches_an_internal_rpc(
    channel: grpc.Channel, http: httpx.Client, callers: Callers, rpc: str
) -> None:
    operator = callers.headers["operator"]
    assert row(rule_of(rpc)) == dict.fromkeys((column.title for column in COLUMNS), "–")
    answer = answer_by_grpc(channel, Rpc.of(rpc), operator, {})
    assert answer.startswith(str(grpc.StatusCode.UNIMPLEMENTED))
    for kind in ("application/json", "application/proto", "application/grpc-web+proto"):
        headers = {**operator, "content-type": kind, "connect-protocol-version": "1"}
        answer_over_http = http.post(rpc, content=b"", headers=headers)
        is_refused = answer_over_http.headers.get("grpc-status") == "12"
        assert answer_over_http.status_code == 404 or is_refused, kind


@pytest.fixture(scope="module")
def channels(
    stack: Stack, certificates: Certificates
) -> Iterator[Mapping[tuple[str, str], grpc.Channel]]:
    """Channels to each service with the certificate of each caller, by caller and service."""
    files = {name: certificates.of(name, f"{name}.sori.svc") for name in (*SERVICE_NAMES, STRANGER)}
    opened = {
        (caller, service): blocking_channel(stack.address(service), tls)
        for caller, tls in files.items()
        for service in SERVICE_NAMES
    }
    yield opened
    for each in opened.values():
        each.close()


SERVICE_OF = {name: service.name for service in SERVICES for name in service.proto_services}


@pytest.mark.parametrize("rpc", RPCS)
def test_every_cell_of_services_holds(
    channels: Mapping[tuple[str, str], grpc.Channel], rpc: str
) -> None:
    values = {"job_id": str(uuid.uuid4())}
    rule, service = rule_of(rpc), SERVICE_OF[rpc.split("/")[1]]
    # A service trusts tools that have its own certificate.
    names = [name for name in (*SERVICE_NAMES, STRANGER) if name != service]
    assert {
        name: seen(answer_by_grpc(channels[name, service], Rpc.of(rpc), {}, values), rule)
        for name in names
    } == {name: outcome_of_service(rule, name) for name in names}


def test_the_table_has_a_cell_for_every_kind_of_caller(callers: Callers) -> None:
    assert set(callers.headers) == {column.title for column in COLUMNS}
    assert {binding.rpc for binding in BINDINGS} <= set(PUBLIC_RPCS)

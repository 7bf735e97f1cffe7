"""No log of the product contains a secret, whatever clients do with it and whatever fails."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest

from services.accounts.totp import STEP_SECONDS, code_at
from sori.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from stack.stack import Stack
from tests.e2e.product import Json, Product, plain_http
from tests.e2e.waiting import eventually
from tests.integration.gateway.issuer import Key, claims
from tests.mails import Mailbox
from tests.stacks import new_stack

PASSWORD, NEW_PASSWORD = "tidal-lamp-orbit", "velvet-comet-harbor"
SAME_SITE = {"x-requested-with": "fetch"}
COOKIE = "__Host-sori_refresh"
PROVIDERS = '{"corp": {"issuer": "http://127.0.0.1:9", "client_id": "sori", "client_secret": "%s"}}'
PROVIDER_SECRET = "secret-of-the-provider-0123456789"
HASH = "$argon2id$"
TABLES = ("accounts.sessions", "accounts.mails", "accounts.mail_tokens", "analysis.jobs")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {
        "ACCOUNTS_EMAIL_VERIFICATION": "true",
        "ACCOUNTS_PROVIDERS": PROVIDERS % PROVIDER_SECRET,
        "GATEWAY_ANONYMOUS_ROLES": "",
    }
    with new_stack(tmp_path_factory.mktemp("stack"), environment) as stack:
        yield stack


@dataclass
class Session:
    """A client that uses every kind of secret. secrets: by what they are."""

    stack: Stack
    http: httpx.Client
    email: str = field(default_factory=lambda: f"minji-{uuid.uuid4()}@example.com")
    secrets: dict[str, str] = field(default_factory=dict)

    def post(self, path: str, body: Json, headers: Json | None = None) -> Json:
        answer = self.http.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def mail_token(self, number: int) -> str:
        """The token in the mail with this number, from 1 on; waits until it arrives."""
        mailbox = Mailbox(self.stack.mail_folder)
        eventually(lambda: len(mailbox.mails(self.email)) >= number)
        return mailbox.mails(self.email)[number - 1].token

    def bearer(self) -> Json:
        return {"authorization": f"Bearer {self.secrets['access token']}"}


@pytest.fixture
def session(stack: Stack) -> Iterator[Session]:
    with plain_http(stack.gateway_url) as client:
        yield Session(stack, client)


def sign_up(session: Session) -> None:
    """Sign up, verify the address, replay the link, reset the password."""
    session.post("/auth/signup", {"email": session.email, "password": PASSWORD})
    session.secrets["verification link"] = token = session.mail_token(1)
    session.post("/auth/verify-email", {"token": token})
    assert session.http.post("/auth/verify-email", json={"token": token}).status_code == 400
    # A client that takes the link for an address of the API.
    session.http.get("/auth/verify-email", params={"token": token})
    session.post("/auth/request-password-reset", {"email": session.email})
    session.secrets["reset link"] = token = session.mail_token(2)
    session.post("/auth/reset-password", {"token": token, "new_password": NEW_PASSWORD})
    session.secrets |= {"password": PASSWORD, "new password": NEW_PASSWORD}


def log_in(session: Session) -> None:
    """Log in by body and by cookie, refresh, and use a token twice."""
    credentials = {"email": session.email, "password": NEW_PASSWORD}
    tokens = session.post("/auth/login", credentials)
    session.secrets["used refresh token"] = tokens["refresh_token"]
    tokens = session.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})
    session.secrets["refresh token"] = tokens["refresh_token"]
    session.secrets["access token"] = tokens["access_token"]
    answer = session.http.post(
        "/auth/login", json={**credentials, "use_cookie": True}, headers=SAME_SITE
    )
    cookie = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    session.secrets["refresh cookie"] = cookie
    sent = {"cookie": f"{COOKIE}={cookie}"}
    session.http.post("/auth/refresh", json={}, headers=sent)
    session.http.get("/tokens/1", headers=sent)
    wrong = session.http.post("/auth/login", json={**credentials, "password": "wrong-lamp-orbit"})
    assert wrong.status_code == 401
    session.secrets["wrong password"] = "wrong-lamp-orbit"


def upload_and_watch(session: Session) -> None:
    """Upload as a guest and with the account; watch with the token in the URL, in every form."""
    guest = Product(session.stack, session.http).upload(1, "ref_0890.wav")
    session.secrets["guest token"] = guest.headers["x-guest-token"]
    session.http.get("/analyses", headers={"x-guest-token": session.secrets["guest token"]})
    product = Product(session.stack, session.http)
    uploaded = product.upload(1, "ref_0890.wav", session.bearer())
    assert uploaded.status_code == 200, uploaded.text
    token, job_id = session.secrets["access token"], uploaded.json()["job_id"]
    watch = f"/tokens/analysis-progress/{job_id}"
    for path in (f"{watch}?access_token={token}", f"{watch}?%61ccess_token={token}&x=1"):
        session.http.get(path)
    session.http.get(f"/tokens/1?access_token={token}")
    session.http.get(f"/nothing?access_token={token}")
    send_fragment(session.stack, f"{watch}#access_token={token}")
    session.http.get("/tokens/1", headers={"authorization": f"Bearer {token}x"})
    session.http.post(f"/auth/login?password={NEW_PASSWORD}", json={"email": session.email})


def send_fragment(stack: Stack, target: str) -> None:
    """Send a request with a fragment, which HTTP libraries remove."""
    host, _, port = stack.gateway_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: sori\r\n\r\n".encode())
        assert connection.recv(16)


def use_second_factor(session: Session) -> None:
    """Set up a second factor; log in with a code, a wrong code and a recovery code."""
    enrolled = session.post("/auth/totp:enroll", {}, session.bearer())
    secret = base64.b32decode(enrolled["secret"] + "=" * (-len(enrolled["secret"]) % 8))
    code = code_at(secret, int(time.time()) // STEP_SECONDS)
    confirmed = session.post("/auth/totp:confirm", {"code": code}, session.bearer())
    session.secrets["second factor"] = enrolled["secret"]
    recovery_codes = confirmed["recovery_codes"]
    session.secrets |= {f"recovery code {n}": code for n, code in enumerate(recovery_codes)}
    credentials = {"email": session.email, "password": NEW_PASSWORD}
    session.http.post("/auth/login", json={**credentials, "totp_code": "wrong-code"})
    session.post("/auth/login", {**credentials, "totp_code": recovery_codes[0]})
    session.http.post("/auth/totp:remove", json={"code": "12"}, headers=session.bearer())


def use_provider(session: Session) -> None:
    """Send id tokens and codes of a login provider that cannot be reached."""
    id_token = Key("1").signed(claims(nonce="n" * 30))
    session.secrets |= {"id token": id_token, "code": "c" * 30, "state": "s" * 30}
    body = {"id_token": id_token, "nonce": "n" * 30}
    assert session.http.post("/auth/corp/id-token", json=body).status_code >= 400
    query = f"code={'c' * 30}&state={'s' * 30}"
    session.http.get(f"/auth/corp/callback?{query}")
    form = {"content-type": "application/x-www-form-urlencoded"}
    session.http.post("/auth/corp/callback", content=query, headers=form)
    session.http.get("/auth/corp/login?return_to=/home")
    session.secrets["secret of the provider"] = PROVIDER_SECRET


def use_client(session: Session) -> None:
    """An operator creates an internal client, which gets a token and fails to get another one."""
    command = [sys.executable, "-m", "services.accounts.cli", "create-operator"]
    email = f"operator-{uuid.uuid4()}@example.com"
    environment: Any = dict(session.stack.environment)
    printed = subprocess.run(
        [*command, email], env=environment, check=True, capture_output=True, text=True
    ).stdout
    token = session.secrets["operator's link"] = printed.rpartition("#token=")[2].strip()
    session.post("/auth/reset-password", {"token": token, "new_password": PASSWORD})
    tokens = session.post("/auth/login", {"email": email, "password": PASSWORD})
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    created = session.post("/accounts/clients", {"name": "reports"}, headers)
    issued = session.post("/auth/client-token", created)
    session.http.post("/auth/client-token", json={**created, "client_id": str(uuid.uuid4())})
    session.secrets |= {
        "client secret": created["client_secret"],
        "client's token": issued["access_token"],
        "operator's token": tokens["access_token"],
    }


def call_by_grpc(session: Session) -> None:
    with grpc.insecure_channel(session.stack.gateway_address) as channel:
        stub: Any = accounts_pb2_grpc.AccountServiceStub(channel)
        metadata = (("authorization", f"Bearer {session.secrets['access token']}"),)
        stub.GetMe(accounts_pb2.GetMeRequest(), metadata=metadata, timeout=10)
        request = accounts_pb2.RefreshRequest(refresh_token=session.secrets["used refresh token"])
        with pytest.raises(grpc.RpcError):
            stub.Refresh(request, timeout=10)


def meet_errors(session: Session) -> None:
    """Repeat the calls while every write fails in a way that no one has foreseen."""
    product = Product(session.stack, session.http)
    for table in TABLES:
        product.execute(f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID")
    credentials = {"email": session.email, "password": NEW_PASSWORD}
    codes = [code for name, code in session.secrets.items() if name.startswith("recovery code")]
    body = {"email": session.email, "password": NEW_PASSWORD}
    calls: list[tuple[str, Json]] = [
        ("/auth/login", {**credentials, "totp_code": codes[1]}),
        ("/auth/refresh", {"refresh_token": session.secrets["refresh token"]}),
        ("/auth/signup", {**body, "email": f"jiho-{session.email}"}),
        ("/auth/request-password-reset", {"email": session.email}),
    ]
    statuses = [session.http.post(path, json=sent).status_code for path, sent in calls]
    statuses.append(product.upload(1, "ref_0890.wav", session.bearer()).status_code)
    for table in TABLES:
        product.execute(f"ALTER TABLE {table} DROP CONSTRAINT broken")
    assert 500 in statuses


STEPS = (
    *(sign_up, log_in, upload_and_watch, use_second_factor),
    *(use_provider, use_client, call_by_grpc, meet_errors),
)


@pytest.mark.timeout(300)
def test_no_log_contains_a_secret(stack: Stack, session: Session) -> None:
    for step in STEPS:
        step(session)
    # The access log is written in order, some time later.
    last = f"/{uuid.uuid4()}"
    session.http.get(last)
    gateways = [name for name in stack.programs if name.startswith("gateway")]
    eventually(lambda: any(last in stack.logs(name) for name in gateways))
    logs = {name: stack.logs(name) for name in stack.programs if name != "mail-sink"}
    assert "Traceback" in logs["accounts"]
    # Of an access token, the part that is secret is the signature.
    secrets = {name: text.rpartition(".")[2] for name, text in session.secrets.items()}
    secrets |= {"hash of a password": HASH, "e-mail address": session.email}
    assert [
        f"{program}: {name}"
        for program, log in logs.items()
        for name, secret in secrets.items()
        if secret in log
    ] == []

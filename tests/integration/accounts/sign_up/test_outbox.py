"""Mails: none is lost while the mail server is down, and none is sent twice."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from services.accounts.letters import Occasion
from services.accounts.mail_texts import Kind, mail_text
from services.accounts.mailer import Mailer, MailServerUnavailable
from services.accounts.outbox import BATCH, LEASE, Outbox, delay_after
from services.accounts.smtp_url import SmtpUrl
from services.accounts.store.mails import MailStore
from services.runtime.database import Database
from services.runtime.language import Language
from stack import mail_sink
from stack.mail_sink import FolderHandler
from tests.integration.accounts.sign_up.service import (
    EMAIL,
    Service,
    settings_of,
    without_mail_server,
)
from tests.mails import Mailbox

SENDER = "Sori <no-reply@example.com>"
APP_URL = "https://app.example.com"


class Replica:
    """The outbox of one replica."""

    def __init__(self, database: Database, port: int) -> None:
        self.database = database
        self.store = MailStore(database)
        self.outbox = Outbox(self.store, Mailer(SmtpUrl("127.0.0.1", port), SENDER), APP_URL)

    async def queue_notice(self, recipient: str) -> None:
        await self.store.queue(Occasion.PASSWORD_CHANGED, recipient, Language.ENGLISH)

    async def send_all(self) -> None:
        while await self.outbox.send_due():
            pass


@asynccontextmanager
async def replica(database_url: str, port: int) -> AsyncIterator[Replica]:
    async with Database(settings_of(database_url), "accounts") as database:
        yield Replica(database, port)


async def waiting(replica: Replica) -> int:
    async with replica.database.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM accounts.mails"))


async def make_due(replica: Replica) -> None:
    """End the leases and pauses of all mails."""
    async with replica.database.connection() as connection:
        await connection.execute("UPDATE accounts.mails SET due_time = now()")


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    async with mail_sink.serving("127.0.0.1", 0, tmp_path) as port:
        yield port


async def test_a_sign_up_succeeds_while_the_mail_server_is_down(
    database_url: str, tmp_path: Path
) -> None:
    async with without_mail_server(database_url, tmp_path) as service:
        await service.sign_up()
        assert await service.queued() == 1


async def test_mails_arrive_when_the_mail_server_is_back(database_url: str, tmp_path: Path) -> None:
    async with mail_sink.serving("127.0.0.1", 0, tmp_path) as port:
        pass
    async with replica(database_url, port) as own:
        await own.queue_notice(EMAIL)
        await own.send_all()
        assert await waiting(own) == 1
        async with mail_sink.serving("127.0.0.1", port, tmp_path):
            await make_due(own)
            await own.send_all()
            assert await waiting(own) == 0
    assert len(Mailbox(tmp_path).mails(EMAIL)) == 1


async def test_replicas_send_each_mail_once(database_url: str, tmp_path: Path, port: int) -> None:
    recipients = {f"learner{number}@example.com" for number in range(3 * BATCH)}
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(replica(database_url, port)) for _ in range(3)]
        for recipient in recipients:
            await replicas[0].queue_notice(recipient)
        await asyncio.gather(*(each.send_all() for each in replicas))
    received = [mail.recipient for mail in Mailbox(tmp_path).mails()]
    assert sorted(received) == sorted(recipients)


async def test_a_mail_of_a_dead_process_is_sent_when_its_lease_ends(
    database_url: str, tmp_path: Path, port: int
) -> None:
    async with replica(database_url, port) as dead, replica(database_url, port) as other:
        await dead.queue_notice(EMAIL)
        assert len(await dead.store.claim(BATCH, LEASE)) == 1
        await other.send_all()
        assert Mailbox(tmp_path).mails() == []
        await make_due(other)
        await other.send_all()
    assert len(Mailbox(tmp_path).mails(EMAIL)) == 1


async def test_a_process_with_an_expired_lease_changes_nothing(
    database_url: str, port: int
) -> None:
    async with replica(database_url, port) as late, replica(database_url, port) as own:
        await late.queue_notice(EMAIL)
        ((stale, _),) = await late.store.claim(BATCH, timedelta())
        ((_, _),) = await own.store.claim(BATCH, LEASE)
        await late.store.delete(stale)
        await late.store.postpone(stale, timedelta())
        assert await waiting(own) == 1
        assert await own.store.claim(BATCH, LEASE) == []


async def test_a_stopped_outbox_leaves_its_mails_to_others_at_once(
    database_url: str, tmp_path: Path, port: int
) -> None:
    async with replica(database_url, port) as stopped, replica(database_url, port) as other:
        await stopped.queue_notice(EMAIL)
        await stopped.outbox.stop()
        await stopped.outbox.send_due()
        assert Mailbox(tmp_path).mails() == []
        await other.send_all()
    assert len(Mailbox(tmp_path).mails(EMAIL)) == 1


async def test_an_expired_mail_is_not_sent(database_url: str, tmp_path: Path, port: int) -> None:
    async with replica(database_url, port) as own:
        await own.queue_notice(EMAIL)
        async with own.database.connection() as connection:
            await connection.execute("UPDATE accounts.mails SET expire_time = now()")
        await own.send_all()
    assert Mailbox(tmp_path).mails() == []


class PickyHandler(FolderHandler):
    """A mail server that does not accept every recipient."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        if address.startswith("gone"):
            return "550 No such mailbox"
        if address.startswith("full"):
            return "452 The mailbox is full"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
async def picky_port(tmp_path: Path) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(PickyHandler(tmp_path)), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_refused_recipient_does_not_hold_up_the_others(
    database_url: str, tmp_path: Path, picky_port: int
) -> None:
    async with replica(database_url, picky_port) as own:
        for recipient in ("gone@example.com", "full@example.com", EMAIL):
            await own.queue_notice(recipient)
        await own.send_all()
        assert [mail.recipient for mail in Mailbox(tmp_path).mails()] == [EMAIL]
        async with own.database.connection() as connection:
            left = await connection.fetch("SELECT recipient, attempts FROM accounts.mails")
        assert [tuple(row) for row in left] == [("full@example.com", 1)]


class DisconnectingHandler(FolderHandler):
    """A mail server that ends the connection when it gets a certain mail."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if envelope.rcpt_tos == ["poison@example.com"]:
            transport: Any = server.transport
            transport.abort()
        return await super().handle_DATA(server, session, envelope)


async def test_a_mail_that_breaks_the_connection_does_not_hold_up_the_others(
    database_url: str, tmp_path: Path
) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(DisconnectingHandler(tmp_path)), "127.0.0.1", 0
    )
    async with server, replica(database_url, server.sockets[0].getsockname()[1]) as own:
        await own.queue_notice("poison@example.com")
        await own.queue_notice(EMAIL)
        await own.send_all()
        assert len(Mailbox(tmp_path).mails(EMAIL)) == 1


def test_pauses_grow_up_to_ten_minutes() -> None:
    seconds = [delay_after(attempts).total_seconds() for attempts in (1, 2, 3, 8, 100)]
    assert seconds == [5, 10, 20, 600, 600]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def starttls_sink(authority: trustme.CA, folder: Path) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with mail_sink.serving("localhost", 0, folder, tls=context) as port:
        yield port


@pytest.mark.parametrize("starttls", [True, None])
async def test_a_mail_goes_through_starttls(
    database_url: str, tmp_path: Path, authority: trustme.CA, starttls: bool | None
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with starttls_sink(authority, tmp_path) as port, replica(database_url, port) as own:
        url = SmtpUrl("localhost", port, starttls=starttls)
        own.outbox = Outbox(own.store, Mailer(url, SENDER, tls_context=trusting), APP_URL)
        await own.queue_notice(EMAIL)
        await own.send_all()
    assert len(Mailbox(tmp_path).mails(EMAIL)) == 1


async def test_a_server_with_an_unknown_certificate_gets_no_mail(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with starttls_sink(authority, tmp_path) as port:
        mailer = Mailer(SmtpUrl("localhost", port, starttls=True), SENDER)
        with pytest.raises(MailServerUnavailable):
            async with mailer.connection():
                pass


async def test_a_server_without_starttls_gets_no_mail_if_it_is_demanded(port: int) -> None:
    mailer = Mailer(SmtpUrl("127.0.0.1", port, starttls=True), SENDER)
    with pytest.raises(MailServerUnavailable):
        async with mailer.connection():
            pass


async def test_a_mail_goes_through_tls_from_the_first_byte_with_a_login(
    tmp_path: Path, authority: trustme.CA
) -> None:
    offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trusting = ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(offered)
    authority.configure_trust(trusting)
    logins: list[Any] = []

    def authenticate(*arguments: Any) -> AuthResult:
        logins.append(arguments[-1])
        return AuthResult(success=True)

    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(
            FolderHandler(tmp_path),
            authenticator=authenticate,
            auth_required=True,
            auth_require_tls=False,
        ),
        "localhost",
        0,
        ssl=offered,
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = SmtpUrl.parse(f"smtps://me:p%40ss@localhost:{port}")
        mailer = Mailer(url, SENDER, tls_context=trusting)
        text = mail_text(Kind.PASSWORD_CHANGED, Language.ENGLISH)
        async with mailer.connection() as connection:
            await connection.send(UUID(int=1), EMAIL, text)
    assert logins == [LoginPassword(b"me", b"p@ss")]
    assert len(Mailbox(tmp_path).mails(EMAIL)) == 1


async def test_mails_have_the_headers_of_an_automatic_mail(service: Service) -> None:
    await service.sign_up()
    mail = (await service.mailbox.wait(EMAIL)).message
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["From"] == "Sori <no-reply@localhost>"
    assert mail["Message-ID"].endswith("@localhost>")
    assert mail["Date"]
    assert mail.get_content_type() == "multipart/alternative"

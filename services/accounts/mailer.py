"""Sending mails through a mail server by SMTP."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from uuid import UUID

import aiosmtplib

from services.accounts.mail_texts import MailText
from services.accounts.smtp_url import SmtpUrl

TIMEOUT_SECONDS = 10.0
"""The time limit for connecting, and for each answer of the server."""

_PERMANENT = range(500, 600)
_FAILURES = (aiosmtplib.SMTPException, OSError, TimeoutError)


class MailRefused(Exception):
    """The server will never accept this mail, for example because the mailbox does not exist."""


class MailDeferred(Exception):
    """The server asks to send this mail later, for example because the mailbox is full."""


class MailServerUnavailable(Exception):
    """The server does not respond, or accepts no mail of this sender."""


class Mailer:
    """Sends mails from one address."""

    def __init__(
        self, url: SmtpUrl, sender: str, *, tls_context: ssl.SSLContext | None = None
    ) -> None:
        """sender: a name and an address. tls_context: default: the system's authorities."""
        self._url = url
        self._sender = sender
        self._domain = parseaddr(sender)[1].rpartition("@")[2]
        self._tls_context = tls_context or ssl.create_default_context()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[MailConnection]:
        """A connection, for several mails. Errors: MailServerUnavailable."""
        client = aiosmtplib.SMTP(
            hostname=self._url.host,
            port=self._url.port,
            username=self._url.user or None,
            password=self._url.password or None,
            use_tls=self._url.tls,
            start_tls=self._url.starttls,
            tls_context=self._tls_context,
            timeout=TIMEOUT_SECONDS,
        )
        try:
            await client.connect()
        except _FAILURES as error:
            raise MailServerUnavailable(_reason(error)) from error
        try:
            yield MailConnection(client, self)
            with suppress(*_FAILURES):
                await client.quit()
        finally:
            client.close()

    def message(self, mail_id: UUID, recipient: str, text: MailText) -> EmailMessage:
        """The mail with its headers.

        mail_id: the same for all attempts to send it, so that mailboxes recognise a copy.
        """
        message = EmailMessage(SMTP_POLICY)
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = text.subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = f"<{mail_id}@{self._domain}>"
        # No vacation mails in return (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text.text)
        message.add_alternative(text.html, subtype="html")
        return message


class MailConnection:
    """A connection to the mail server."""

    def __init__(self, client: aiosmtplib.SMTP, mailer: Mailer) -> None:
        self._client = client
        self._mailer = mailer

    async def send(self, mail_id: UUID, recipient: str, text: MailText) -> None:
        """Send a mail; returns when the server has accepted it.

        Errors: MailRefused, MailDeferred, MailServerUnavailable.
        """
        message = self._mailer.message(mail_id, recipient, text)
        try:
            await self._client.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            # There is one recipient.
            raise _refusal(error.recipients[0]) from error
        except aiosmtplib.SMTPDataError as error:
            raise _refusal(error) from error
        except _FAILURES as error:
            raise MailServerUnavailable(_reason(error)) from error


def _refusal(error: aiosmtplib.SMTPResponseException) -> Exception:
    return (MailRefused if error.code in _PERMANENT else MailDeferred)(_reason(error))


def _reason(error: Exception) -> str:
    """The failure, for logs, without the server's text, which may quote the recipient's address."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"

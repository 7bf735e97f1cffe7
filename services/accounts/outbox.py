"""The outbox: sends the queued mails, and repeats failed attempts until a mail expires.

Every replica runs one. A claim with a lease keeps two of them from sending the same mail; a
process that dies while it sends leaves the mail to the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from datetime import timedelta

import structlog

from services.accounts.letters import Letter, QueuedMail, RecipientAccount, letter_for
from services.accounts.links import link
from services.accounts.mail_texts import mail_text
from services.accounts.mailer import (
    MailConnection,
    MailDeferred,
    Mailer,
    MailRefused,
    MailServerUnavailable,
)
from services.accounts.store.mails import MailStore

BATCH = 20
LEASE = timedelta(minutes=5)
SEND_SECONDS = 60.0
"""Time limit for sending one mail."""
POLL_SECONDS = 2.0
"""Interval at which an idle outbox looks for mails of other replicas and for due attempts."""
FIRST_DELAY = timedelta(seconds=5)
MAX_DELAY = timedelta(minutes=10)
_MAX_DOUBLINGS = 10

_logger = structlog.get_logger(__name__)


class Outbox:
    """Sends queued mails."""

    def __init__(self, store: MailStore, mailer: Mailer, app_url: str) -> None:
        """app_url: of the web app, which has the pages of the links."""
        self._store = store
        self._mailer = mailer
        self._app_url = app_url
        self._woken = asyncio.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """Look for due mails now, because this process has queued one."""
        self._woken.set()

    async def stop(self) -> None:
        """End `run` after the mail that is being sent; other replicas get the others."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Send mails until stopped or cancelled."""
        while not self._is_stopping:
            self._woken.clear()
            if await self.send_due():
                continue
            # Not `wait_for`: in Python 3.11 it can lose a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._woken.wait()

    async def send_due(self) -> bool:
        """Send some due mails; returns whether more may be due.

        Errors: DatabaseUnavailable.
        """
        lease_end = time.monotonic() + LEASE.total_seconds()
        claimed = await self._store.claim(BATCH, LEASE)
        letters: deque[tuple[QueuedMail, Letter]] = deque()
        for mail, account in claimed:
            if letter := await self._letter(mail, account):
                letters.append((mail, letter))
        if not letters:
            return bool(claimed)
        try:
            async with self._mailer.connection() as connection:
                while letters and not self._is_stopping:
                    is_late = time.monotonic() + SEND_SECONDS > lease_end
                    if is_late or not await self._send(connection, *letters.popleft()):
                        break
        except MailServerUnavailable as error:
            _logger.warning("mail server unavailable", error=str(error), mails=len(letters))
            for mail, _ in letters:
                await self._store.postpone(mail, delay_after(mail.attempts))
            return False
        # The other mails were not tried, so they are due at once.
        for mail, _ in letters:
            await self._store.postpone(mail, timedelta())
        return bool(letters) or len(claimed) == BATCH

    async def _letter(self, mail: QueuedMail, account: RecipientAccount | None) -> Letter | None:
        letter = letter_for(mail, account)
        if letter is None:
            await self._store.delete(mail)
        return letter

    async def _send(self, connection: MailConnection, mail: QueuedMail, letter: Letter) -> bool:
        """Send one mail; returns whether the connection can send further ones."""
        url = ""
        if (purpose := letter.purpose) is not None:
            token = await self._store.add_token(mail, letter, purpose)
            if token is None:
                await self._store.delete(mail)
                return True
            url = link(self._app_url, purpose.page, token)
        text = mail_text(letter.kind, letter.language, url)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await connection.send(mail.mail_id, mail.recipient, text)
        except MailRefused as error:
            _logger.warning("mail refused", mail_id=str(mail.mail_id), error=str(error))
        except (MailDeferred, MailServerUnavailable, TimeoutError) as error:
            _logger.warning("mail not sent", mail_id=str(mail.mail_id), error=str(error))
            await self._store.postpone(mail, delay_after(mail.attempts))
            return isinstance(error, MailDeferred)
        else:
            _logger.info("mail sent", mail_id=str(mail.mail_id), kind=letter.kind)
        await self._store.delete(mail)
        return True


def delay_after(attempts: int) -> timedelta:
    """The pause after the attempt with this number, 1 or more."""
    factor: int = 2 ** min(attempts - 1, _MAX_DOUBLINGS)
    return min(FIRST_DELAY * factor, MAX_DELAY)

"""The mails that a mail sink has written."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

_TOKEN = re.compile(r"#token=([A-Za-z0-9_-]+)")
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class ReceivedMail:
    """A mail as its recipient sees it."""

    message: EmailMessage

    @property
    def recipient(self) -> str:
        return str(self.message["To"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        return self._body("plain")

    @property
    def html(self) -> str:
        return self._body("html")

    @property
    def token(self) -> str:
        """The token of the mail's link; empty for a mail without one."""
        found = _TOKEN.search(self.text)
        return found[1] if found else ""

    def _body(self, kind: str) -> str:
        body = self.message.get_body((kind,))
        assert body is not None
        return str(body.get_content())


class Mailbox:
    """The folder of a mail sink."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def mails(self, recipient: str = "") -> list[ReceivedMail]:
        """All mails so far, the oldest first; with a recipient, only those to it."""
        return [mail for mail in self._read() if recipient in ("", mail.recipient)]

    async def wait(self, recipient: str, number: int = 1) -> ReceivedMail:
        """The mail to a recipient with this number, from 1 on; waits until it arrives."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            # Another process may write the files.
            while len(mails := self.mails(recipient)) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return mails[number - 1]

    def _read(self) -> Iterator[ReceivedMail]:
        for path in sorted(self._folder.glob("*.eml")):
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            yield ReceivedMail(message)

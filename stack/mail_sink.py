"""A mail server without delivery: it writes each mail to a file and prints its links.

The local stack and the tests use it in place of a real mail server:

    python -m stack.mail_sink 127.0.0.1:15025 data/mails
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from itertools import count
from pathlib import Path
from time import time_ns
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_MAIL_BYTES = 1024 * 1024

_LINK = re.compile(r"https?://\S+")


class FolderHandler:
    """Writes mails to a folder, one file each; the names sort by the time of arrival."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    async def handle_DATA(  # noqa: N802 (aiosmtpd's name)
        self,
        server: SMTP,  # noqa: ARG002
        session: Session,  # noqa: ARG002
        envelope: Envelope,
    ) -> str:
        """Write a mail, then accept it."""
        content: Any = envelope.content
        name = f"{time_ns()}-{next(self._numbers)}"
        # Readers see only files that are complete.
        draft = self._folder / f"{name}.draft"
        draft.write_bytes(content)
        draft.rename(self._folder / f"{name}.eml")
        print(_summary(content), flush=True)
        return "250 Accepted"


def _summary(content: bytes) -> str:
    message = message_from_bytes(content, policy=policy.default)
    body = message.get_body(("plain",))
    links = _LINK.findall(body.get_content()) if body else []
    return "\n    ".join([f"mail to {message['To']}: {message['Subject']}", *links])


@asynccontextmanager
async def serving(
    host: str, port: int, folder: Path, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Receive mails while the context lasts; yields the port.

    port: 0 for a free one. tls: offers STARTTLS, and demands it before a mail.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    handler = FolderHandler(folder)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(
            handler,
            data_size_limit=MAX_MAIL_BYTES,
            hostname="localhost",
            ident="Sori mail sink",
            tls_context=tls,
            require_starttls=tls is not None,
        ),
        host,
        port,
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


async def main(host: str, port: int, folder: Path) -> None:
    """Receive mails until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with serving(host, port, folder):
        print(f"mail sink on {host}:{port}, mails in {folder}", flush=True)
        await stopping.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stack.mail_sink", description=__doc__)
    parser.add_argument("address", metavar="HOST:PORT", help="where to listen")
    parser.add_argument("folder", type=Path, help="where to write the mails")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    asyncio.run(main(host, int(port), arguments.folder))

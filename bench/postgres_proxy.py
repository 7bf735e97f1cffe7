"""A proxy in front of PostgreSQL that counts what clients send.

It runs in a thread of its own. It reads the protocol of clients only (PostgreSQL 18, chapter
"Frontend/Backend Protocol") and passes every byte on unchanged.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

_READ_BYTES = 65536
_STARTUP = 3
_LENGTH_BYTES = 4
# Messages at which a client waits for the server: Query, Sync and Flush.
_ROUND_TRIPS = b"QSH"


@dataclass
class Sent:
    """What clients sent, by application name.

    statements: executed statements, including BEGIN and COMMIT, without pings.
    pings: empty statements that only test the connection.
    round_trips: how often a client waited for the server.
    """

    statements: Counter[str] = field(default_factory=Counter)
    pings: Counter[str] = field(default_factory=Counter)
    round_trips: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Sent:
        """The counts at this moment."""
        return Sent(self.statements.copy(), self.pings.copy(), self.round_trips.copy())


class PostgresProxy:
    """A running proxy; a context manager.

    target_port: of PostgreSQL on this machine; set it before clients connect.
    sent: counts since the start.
    """

    def __init__(self, port: int) -> None:
        self.target_port = 0
        self.sent = Sent()
        self._port = port
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        """The database behind the proxy."""
        return f"postgresql://sori@127.0.0.1:{self._port}/sori"

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._started.set()
        await self._stopping.wait()
        server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.close()
            return
        parser = ClientParser(self.sent)
        await asyncio.gather(_pass_on(reader, requests, parser.feed), _pass_on(answers, writer))


async def _pass_on(
    source: asyncio.StreamReader,
    target: asyncio.StreamWriter,
    look: Callable[[bytes], None] = lambda _: None,
) -> None:
    try:
        while data := await source.read(_READ_BYTES):
            look(data)
            target.write(data)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()


class ClientParser:
    """Counts the messages of one connection."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self._data = bytearray()
        self._application = ""
        self._is_started = False
        # Texts of prepared statements, and of the statements bound to portals, by name.
        self._prepared: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        self._data += data
        while self._is_started or len(self._data) >= _LENGTH_BYTES:
            type_bytes = 1 if self._is_started else 0
            if len(self._data) < type_bytes + _LENGTH_BYTES:
                return
            end = type_bytes + int.from_bytes(self._data[type_bytes : type_bytes + 4], "big")
            if len(self._data) < end:
                return
            message = bytes(self._data[:end])
            del self._data[:end]
            if self._is_started:
                self._count(message[:1], message[1 + _LENGTH_BYTES :])
            else:
                self._start(message[_LENGTH_BYTES:])

    def _start(self, body: bytes) -> None:
        (version,) = struct.unpack_from(">I", body)
        # Otherwise it asks for encryption or cancels another connection's statement.
        if version >> 16 == _STARTUP:
            self._is_started = True
            words = body[4:].split(b"\0")
            parameters = dict(zip(words[::2], words[1::2], strict=False))
            self._application = parameters.get(b"application_name", b"").decode()

    def _count(self, kind: bytes, body: bytes) -> None:
        if kind in _ROUND_TRIPS:
            self._sent.round_trips[self._application] += 1
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = text
        elif kind == b"B":
            portal, name, _ = body.split(b"\0", 2)
            self._portals[portal] = self._prepared.get(name, b"")
        elif kind == b"E":
            self._count_statement(self._portals.get(body.partition(b"\0")[0], b""))
        elif kind == b"Q":
            self._count_statement(body.rstrip(b"\0"))

    def _count_statement(self, text: bytes) -> None:
        is_ping = not text.strip(b"; \n")
        counter = self._sent.pings if is_ping else self._sent.statements
        counter[self._application] += 1

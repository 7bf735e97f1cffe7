"""HTTP/1.1 on raw sockets: servers and clients that cost little next to what they measure."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

_BUFFER_BYTES = 256 * 1024
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Head:
    """The head of a request; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, head: bytes) -> Head:
        """Parse everything before the empty line."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        return cls(
            method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}
        )


class BufferedServer(asyncio.BufferedProtocol, ABC):
    """One connection to a server that reads into one buffer and need not keep bodies."""

    def __init__(self) -> None:
        self._view = memoryview(bytearray(_BUFFER_BYTES))
        self._line = bytearray()
        self._head: Head | None = None
        self._is_chunked = self._is_after_last_chunk = False
        # Bytes of the body, or of the chunk with its line end, that have not arrived.
        self._left = self._size = 0
        self._body: bytearray | None = None

    @abstractmethod
    def keeps_body(self, head: Head) -> bool:
        """Whether the body of a request is kept while it arrives."""

    @abstractmethod
    def handle(self, head: Head, size: int, body: bytes | None) -> None:
        """Answer a request whose last byte has arrived.

        size: bytes of the body. body: None unless it was kept.
        """

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast("asyncio.Transport", transport)
        send_immediately(self._transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Called by asyncio."""
        return self._view

    def buffer_updated(self, count: int) -> None:
        """Called by asyncio."""
        data = self._view[:count]
        while data:
            if self._head is None:
                data = self._read_head(data)
            elif self._left:
                data = self._read_body(data)
            else:
                data = self._read_chunk_line(data)

    def _read_head(self, data: memoryview) -> memoryview:
        already = len(self._line)
        self._line += data
        end = self._line.find(_END_OF_HEAD, max(0, already - 3))
        if end < 0:
            return data[len(data) :]
        head = self._head = Head.parse(bytes(self._line[:end]))
        self._line.clear()
        self._body = bytearray() if self.keeps_body(head) else None
        self._size = 0
        self._is_chunked = "chunked" in head.headers.get("transfer-encoding", "")
        self._left = 0 if self._is_chunked else int(head.headers.get("content-length", 0))
        if head.headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._left and not self._is_chunked:
            self._finish()
        return data[end + len(_END_OF_HEAD) - already :]

    def _read_body(self, data: memoryview) -> memoryview:
        piece = data[: self._left]
        self._left -= len(piece)
        self._size += len(piece)
        if self._body is not None:
            self._body += piece
        if not self._left:
            if self._is_chunked:
                self._remove_line_end()
            else:
                self._finish()
        return data[len(piece) :]

    def _remove_line_end(self) -> None:
        self._size -= 2
        if self._body is not None:
            del self._body[-2:]

    def _read_chunk_line(self, data: memoryview) -> memoryview:
        piece, found, _ = bytes(data[:1024]).partition(b"\n")
        self._line += piece
        if found:
            line = bytes(self._line).strip()
            self._line.clear()
            self._use_chunk_line(line)
        return data[len(piece) + len(found) :]

    def _use_chunk_line(self, line: bytes) -> None:
        if self._is_after_last_chunk:
            # Trailers end with an empty line.
            if not line:
                self._finish()
        elif size := int(line.partition(b";")[0], 16):
            self._left = size + 2
        else:
            self._is_after_last_chunk = True

    def _finish(self) -> None:
        assert self._head is not None  # noqa: S101 (called after a head)
        head, body = self._head, self._body
        self._head = self._body = None
        self._is_after_last_chunk = False
        self.handle(head, self._size, None if body is None else bytes(body))


@dataclass(frozen=True)
class Response:
    """A response of which only the status and the body matter."""

    status: int
    body: bytes


class ClientConnection(asyncio.Protocol):
    """One connection of a client, for one request at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._response: asyncio.Future[Response] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can send another request."""
        return self._transport is not None and not self._transport.is_closing()

    def request(self, *data: bytes) -> asyncio.Future[Response]:
        """Send the bytes of a request."""
        if self._transport is None:
            raise ConnectionError("the server closed the connection")
        self._response = asyncio.get_running_loop().create_future()
        for piece in data:
            self._transport.write(piece)
        return self._response

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast("asyncio.Transport", transport)
        send_immediately(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        if self._response is not None and not self._response.done():
            self._response.set_exception(error or ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._received += data
        parsed = parse_response(self._received)
        if parsed is not None and self._response is not None:
            self._received.clear()
            self._response.set_result(parsed)


class ClientPool:
    """Connections to one server, each reused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[ClientConnection] = []

    async def request(self, *data: bytes) -> Response:
        """Send the bytes of a request over an idle connection or a new one."""
        connection = await self._connection()
        response = await connection.request(*data)
        self._idle.append(connection)
        return response

    def close(self) -> None:
        """Close all idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connection(self) -> ClientConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(ClientConnection, "127.0.0.1", self._port)
        return connection


def parse_response(received: bytes | bytearray) -> Response | None:
    """The response, or None if it has not arrived completely."""
    end = received.find(_END_OF_HEAD)
    if end < 0:
        return None
    head, body = bytes(received[:end]).lower(), bytes(received[end + len(_END_OF_HEAD) :])
    status = int(head[9:12])
    if b"transfer-encoding: chunked" in head:
        return Response(status, body) if body.endswith(b"0\r\n\r\n") else None
    _, found, rest = head.partition(b"content-length:")
    size = int(rest.partition(b"\r\n")[0]) if found else 0
    return Response(status, body) if len(body) >= size else None


def request_head(method: str, path: str, port: int, **headers: str | int) -> bytes:
    """The head of a request; underscores in names of headers stand for hyphens."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}\r\n".encode()


def send_immediately(transport: asyncio.Transport) -> None:
    """Switch Nagle's algorithm off."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

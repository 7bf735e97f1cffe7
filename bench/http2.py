"""A gRPC client on raw sockets that costs a fraction of a grpc.aio client.

It speaks as much HTTP/2 as a load driver needs: fixed request headers, unlimited windows, and
responses of which it looks only at messages and at the end of each stream.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

from bench.http1 import send_immediately

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK, _END_STREAM, _END_HEADERS = 0x1, 0x1, 0x4
_FRAME_HEAD_BYTES = 9
_MESSAGE_HEAD_BYTES = 5
_INITIAL_WINDOW_SIZE = 4
_LARGEST_WINDOW = 2**31 - 1
_DEFAULT_WINDOW = 65535


class CallFailed(Exception):
    """A unary call ended without a message."""


@dataclass
class _Stream:
    """An open call.

    on_message: gets its messages. end: gets the last headers, which contain the status.
    """

    on_message: Callable[[bytes], None]
    end: asyncio.Future[bytes]
    received: bytearray = field(default_factory=bytearray)


class GrpcConnection(asyncio.Protocol):
    """One HTTP/2 connection to a gRPC server."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._streams: dict[int, _Stream] = {}
        self._next_stream = 1

    @classmethod
    async def open(cls, port: int) -> GrpcConnection:
        """Connect to a server on this machine."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port)
        return connection

    def call(
        self, method: str, request: bytes, on_message: Callable[[bytes], None]
    ) -> asyncio.Future[bytes]:
        """Start a call with one request.

        method: the full name, such as `/sori.catalog.v1.CatalogService/GetToken`.
        on_message: gets every message of the response.
        Returns a future of the last headers as they were encoded, whatever the status.
        """
        number, self._next_stream = self._next_stream, self._next_stream + 2
        end = asyncio.get_running_loop().create_future()
        self._streams[number] = _Stream(on_message, end)
        message = struct.pack(">BI", 0, len(request)) + request
        self._transport.write(
            _frame(_HEADERS, _END_HEADERS, number, _header_block(method))
            + _frame(_DATA, _END_STREAM, number, message)
        )
        return end

    async def unary(self, method: str, request: bytes) -> bytes:
        """The response of a unary call. Errors: CallFailed if it has no message."""
        messages: list[bytes] = []
        trailers = await self.call(method, request, messages.append)
        if not messages:
            raise CallFailed(f"{method} failed: {trailers!r}")
        return messages[0]

    def close(self) -> None:
        """Close the connection, and with it all calls."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast("asyncio.Transport", transport)
        send_immediately(self._transport)
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
        more = struct.pack(">I", _LARGEST_WINDOW - _DEFAULT_WINDOW)
        self._transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, more)
        )

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        for stream in self._streams.values():
            if not stream.end.done():
                stream.end.set_exception(error or ConnectionError("the connection was closed"))
                # The caller of a watch may not await its end.
                stream.end.exception()
        self._streams.clear()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._received += data
        position, total = 0, len(self._received)
        while total - position >= _FRAME_HEAD_BYTES:
            length = int.from_bytes(self._received[position : position + 3], "big")
            start = position + _FRAME_HEAD_BYTES
            if total - start < length:
                break
            kind, flags = self._received[position + 3], self._received[position + 4]
            number = int.from_bytes(self._received[position + 5 : start], "big")
            self._use_frame(kind, flags, number, self._received[start : start + length])
            position = start + length
        del self._received[:position]

    def _use_frame(self, kind: int, flags: int, number: int, payload: bytearray) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, bytes(payload)))
        elif kind == _GOAWAY:
            self._transport.close()
        elif stream := self._streams.get(number):
            if kind == _DATA:
                self._use_data(stream, payload)
            if kind == _RST_STREAM or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
                del self._streams[number]
                if not stream.end.done():
                    stream.end.set_result(bytes(payload))

    def _use_data(self, stream: _Stream, payload: bytearray) -> None:
        # Windows are per connection too; the server may send as much again.
        if payload:
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
        stream.received += payload
        while len(stream.received) >= _MESSAGE_HEAD_BYTES:
            end = _MESSAGE_HEAD_BYTES + int.from_bytes(
                stream.received[1:_MESSAGE_HEAD_BYTES], "big"
            )
            if len(stream.received) < end:
                return
            message = bytes(stream.received[_MESSAGE_HEAD_BYTES:end])
            del stream.received[:end]
            stream.on_message(message)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _header_block(method: str) -> bytes:
    return _literals(
        (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "127.0.0.1"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        )
    )


def _literals(headers: Iterable[tuple[str, str]]) -> bytes:
    """HPACK: literal fields without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)


def _string(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) >= 127:
        raise ValueError(f"{text!r} is too long for a one-byte length")
    return bytes((len(encoded),)) + encoded

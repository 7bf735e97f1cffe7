"""A TCP proxy that injects faults of a network: resets, stalls, slow transfers, flipped bits."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

PIECE_BYTES = 65536


@dataclass(frozen=True)
class Fault:
    """A fault of a connection, in the direction from the client to the server.

    after: the number of bytes that pass before the fault. Then one of:
    reset: both ends receive a reset. half_close: only the server sees the end of the stream.
    stall: no more bytes pass. flip: one bit of the next byte is flipped.
    answer: the client receives this instead of the server's answer, then the end of the stream.
    bytes_per_second: the speed, in pieces of at most `piece` bytes.
    """

    after: int = 0
    reset: bool = False
    half_close: bool = False
    stall: bool = False
    flip: bool = False
    answer: bytes = b""
    bytes_per_second: float = 0.0
    piece: int = PIECE_BYTES


NO_FAULT = Fault()


class FaultyProxy:
    """Forwards a port to another with the current fault, in a thread of its own.

    A new fault applies to connections that open later.
    """

    def __init__(self, target: str) -> None:
        """target: host:port."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._fault = NO_FAULT
        self._remaining = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self.address = ""
        self.faults = 0
        """The number of connections that had a fault."""

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._forward, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._run(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def forward_to(self, target: str) -> None:
        """Forward new connections to another host:port."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))

    def inject(self, fault: Fault, times: int = 1_000_000) -> None:
        """Inject this fault into new connections, at most `times` times."""
        self._fault, self._remaining = fault, times

    def close_connections(self) -> None:
        """Close all connections."""

        async def close() -> None:
            for end in self._open:
                end.close()

        self._run(close())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._fault if self._remaining > 0 else NO_FAULT
        self._remaining -= 1
        if fault.answer:
            self.faults += 1
            await reader.read(PIECE_BYTES)
            writer.write(fault.answer)
            await _end_stream(fault, reader, writer, writer.close)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        ends = (writer, far_writer)
        self._open.update(ends)
        back = asyncio.create_task(_copy(far_reader, writer))
        try:
            await self._copy_with(fault, reader, far_writer, lambda: _reset(*ends))
            await back
        except OSError:
            pass
        finally:
            back.cancel()
            self._open.difference_update(ends)
            for end in ends:
                end.close()

    async def _copy_with(
        self,
        fault: Fault,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        reset: Callable[[], None],
    ) -> None:
        await _copy(source, sink, fault.after if fault != NO_FAULT else None)
        piece = await source.read(fault.piece)
        if not piece:
            sink.write_eof()
            return
        self.faults += 1
        if fault.reset or fault.half_close or fault.stall:
            await _end_stream(fault, source, sink, reset)
            return
        if fault.flip:
            piece = bytes([piece[0] ^ 1]) + piece[1:]
        while piece:
            sink.write(piece)
            await sink.drain()
            if fault.bytes_per_second:
                await asyncio.sleep(len(piece) / fault.bytes_per_second)
            piece = await source.read(fault.piece)
        sink.write_eof()


async def _copy(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, size: int | None = None
) -> None:
    """Copy `size` bytes, by default all."""
    left = size if size is not None else 2**62
    while left and (piece := await source.read(min(left, PIECE_BYTES))):
        left -= len(piece)
        sink.write(piece)
        await sink.drain()


async def _end_stream(
    fault: Fault,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    reset: Callable[[], None],
) -> None:
    if fault.reset:
        reset()
    elif fault.half_close or fault.answer:
        sink.write_eof()
    # Discard the rest.
    while await source.read(PIECE_BYTES):
        pass


def _reset(*ends: asyncio.StreamWriter) -> None:
    for end in ends:
        connection: socket.socket = end.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.transport.abort()

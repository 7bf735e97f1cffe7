"""A bad network between a client and a server: cuts, stalls, trickles, flipped bytes."""

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
    """What is wrong with connections, from the client to the server.

    after: bytes of a connection that pass unharmed. Then one of:
    reset: both ends get a reset. half_close: the server sees the end, the client nothing.
    stall: nothing passes any more. flip: one bit of the next byte is flipped.
    answer: the client gets this instead of what the server would say, and the end.
    bytes_per_second: how many pass, in pieces of at most `piece` bytes.
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
    """Forwards a port to another, in a thread of its own, with whatever fault is set.

    A fault counts for connections that are opened after it was set.
    """

    def __init__(self, target: str) -> None:
        """Lead to host:port."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._fault = NO_FAULT
        self._left = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self.address = ""
        self.faults = 0
        """How many connections were harmed."""

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._forward, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        async def ended() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._run(ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def lead_to(self, target: str) -> None:
        """Lead somewhere else from the next connection on."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))

    def break_with(self, fault: Fault, times: int = 1_000_000) -> None:
        """Have this fault from the next connection on, so many times."""
        self._fault, self._left = fault, times

    def cut(self) -> None:
        """Close all connections."""

        async def closed() -> None:
            for end in self._open:
                end.close()

        self._run(closed())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._fault if self._left > 0 else NO_FAULT
        self._left -= 1
        if fault.answer:
            self.faults += 1
            await reader.read(PIECE_BYTES)
            writer.write(fault.answer)
            await _end(fault, reader, writer, writer.close)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        ends = (writer, far_writer)
        self._open.update(ends)
        back = asyncio.create_task(_pass(far_reader, writer))
        try:
            await self._pass_with(fault, reader, far_writer, lambda: _reset(*ends))
            await back
        except OSError:
            pass
        finally:
            back.cancel()
            self._open.difference_update(ends)
            for end in ends:
                end.close()

    async def _pass_with(
        self,
        fault: Fault,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        reset: Callable[[], None],
    ) -> None:
        await _pass(source, sink, fault.after if fault != NO_FAULT else None)
        piece = await source.read(fault.piece)
        if not piece:
            sink.write_eof()
            return
        self.faults += 1
        if fault.reset or fault.half_close or fault.stall:
            await _end(fault, source, sink, reset)
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


async def _pass(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, size: int | None = None
) -> None:
    """Pass so many bytes, by default all."""
    left = size if size is not None else 2**62
    while left and (piece := await source.read(min(left, PIECE_BYTES))):
        left -= len(piece)
        sink.write(piece)
        await sink.drain()


async def _end(
    fault: Fault,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    reset: Callable[[], None],
) -> None:
    if fault.reset:
        reset()
    elif fault.half_close or fault.answer:
        sink.write_eof()
    # What still comes goes nowhere.
    while await source.read(PIECE_BYTES):
        pass


def _reset(*ends: asyncio.StreamWriter) -> None:
    for end in ends:
        connection: socket.socket = end.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.transport.abort()

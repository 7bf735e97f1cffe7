"""A TCP proxy that freezes connections: they stay open, but no more bytes pass."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

PIECE_BYTES = 65536
# PostgreSQL clients name themselves in the start-up message, which follows the TLS request.
NAMING_PIECES = 3


class HalfOpenProxy:
    """Forwards a port to another, in a thread of its own. See `freeze`."""

    def __init__(self, port: int, target_port: int) -> None:
        self._port = port
        self._target_port = target_port
        self._frozen_writers: set[asyncio.StreamWriter] = set()
        self._first_bytes: dict[asyncio.StreamWriter, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        started: Future[asyncio.Server] = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._forward, "127.0.0.1", self._port), self._loop
        )
        started.result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def freeze(self, mark: bytes) -> int:
        """Freeze the connections whose first bytes contain this; returns their number."""

        async def freeze() -> int:
            found = [writer for writer, start in self._first_bytes.items() if mark in start]
            self._frozen_writers.update(found)
            return len(found)

        return asyncio.run_coroutine_threadsafe(freeze(), self._loop).result()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        self._first_bytes[writer] = b""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, far_writer, writer, keeps_start=True))
                tasks.create_task(self._pump(far_reader, writer, writer, keeps_start=False))
        except* OSError:
            pass
        finally:
            del self._first_bytes[writer]
            self._frozen_writers.discard(writer)
            writer.close()
            far_writer.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        connection: asyncio.StreamWriter,
        *,
        keeps_start: bool,
    ) -> None:
        pieces = 0
        while piece := await source.read(PIECE_BYTES):
            pieces += 1
            if keeps_start and pieces <= NAMING_PIECES:
                self._first_bytes[connection] += piece
            if connection in self._frozen_writers:
                continue
            sink.write(piece)
            await sink.drain()
        sink.close()

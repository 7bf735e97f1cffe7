"""The upload service with uploads in memory, behind a real gateway."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.runtime.callers import Caller
from services.runtime.errors import SoriError
from services.runtime.interceptors import CallInterceptor
from services.upload.checksums import Checksum
from services.upload.errors import UploadNotFound
from services.upload.models import Plan, Upload
from services.upload.state import State
from services.upload.stream import Content
from services.upload.tus_servicer import TusServicer
from services.upload.uploads import Uploads
from sori.upload.v1 import tus_pb2_grpc, upload_pb2, upload_pb2_grpc
from stack.ports import free_ports
from tests.integration.gateway.fake_services import NAMES, Context

MIB = 1024 * 1024
SOME = UUID("01890000-0000-7000-8000-000000000001")
JOB = UUID("01890000-0000-7000-8000-000000000002")


class InMemory(Uploads):
    """Uploads that count what comes; they refuse it when there is a `failure`."""

    def __init__(self) -> None:
        self.limit_bytes = 64 * MIB
        self.reset()

    def reset(self) -> None:
        self.failure: SoriError | None = None
        self.upload: Upload | None = None
        self.pieces: list[int] = []
        self.has_some = threading.Event()
        self.ended = threading.Event()

    def known(self) -> Upload:
        if self.failure is not None:
            raise self.failure
        if self.upload is None:
            raise UploadNotFound(upload_id=SOME)
        return self.upload

    async def create(self, plan: Plan) -> Upload:
        if self.failure is not None:
            raise self.failure
        now = datetime.now(UTC)
        expiry = now + timedelta(hours=1)
        self.upload = Upload(SOME, plan, State.RECEIVING, JOB, 0, expiry, now)
        return self.upload

    async def get(self, upload_id: UUID, caller: Caller) -> Upload:
        return self.known()

    async def write(
        self,
        upload_id: UUID,
        caller: Caller,
        offset: int,
        items: Content,
        *,
        exactly: bool = False,
        size: int | None = None,
        checksum: Checksum | None = None,
    ) -> Upload:
        upload = self.known()
        try:
            async for item in items:
                assert isinstance(item, bytes)
                self.pieces.append(len(item))
                self.has_some.set()
        finally:
            # A client that vanishes ends the items, or cancels the call.
            self.upload = replace(upload, committed_size=sum(self.pieces))
            self.ended.set()
        return self.upload

    async def terminate(self, upload_id: UUID, caller: Caller) -> None:
        self.upload = replace(self.known(), state=State.CANCELLED)

    async def concatenate(self, plan: Plan, caller: Caller, pieces: Sequence[UUID]) -> Upload:
        return await self.create(plan)


class UploadsByGrpc(upload_pb2_grpc.UploadServiceServicer):
    """Knows every upload."""

    async def GetUpload(self, request: Any, context: Context) -> upload_pb2.Upload:
        return upload_pb2.Upload(upload_id=request.upload_id)


class Service:
    """The upload service with these uploads, running in a separate thread."""

    def __init__(self, uploads: InMemory) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self._uploads = uploads
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        self._thread.start()
        self._run(self._serve())

    def stop(self) -> None:
        self._run(self._server.stop(None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        self._server = grpc.aio.server(interceptors=[CallInterceptor()])
        tus_pb2_grpc.add_TusServiceServicer_to_server(
            TusServicer(self._uploads, guests=timedelta(days=30)), self._server
        )
        upload_pb2_grpc.add_UploadServiceServicer_to_server(
            UploadsByGrpc(),  # type: ignore[abstract]
            self._server,
        )
        healthy = health.aio.HealthServicer()
        for name in NAMES:
            await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

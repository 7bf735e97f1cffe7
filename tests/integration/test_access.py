"""With mutual TLS, certificates decide which caller a service believes, on real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
import trustme
from google.api.httpbody_pb2 import HttpBody
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.runtime.access import AccessCheck, caller_of
from services.runtime.callers import TRUSTED, Caller
from services.runtime.interceptors import CallInterceptor, Context
from services.runtime.tls import Tls, server_credentials
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import tus_pb2, tus_pb2_grpc, upload_pb2, upload_pb2_grpc

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOPBACK = "127.0.0.1"
AS_OPERATOR = (
    ("x-sori-caller", "account"),
    ("x-sori-account", "learner-1"),
    ("x-sori-roles", "operator"),
)


class Certificates:
    """Issues certificates of one authority."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder

    def of(self, *names: str) -> Tls:
        """The files of a program whose certificate has these names."""
        return self._files(self._authority.issue_cert(*names), "-".join(names))

    def without_names(self, common_name: str) -> Tls:
        """The files of a program whose certificate has a subject and no alternative names."""
        return self._files(self._authority.issue_cert(common_name=common_name), "no-names")

    def _files(self, issued: trustme.LeafCert, name: str) -> Tls:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        tls = Tls(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
        issued.cert_chain_pems[0].write_to_path(str(tls.certificate_file))
        issued.private_key_pem.write_to_path(str(tls.key_file))
        self._authority.cert_pem.write_to_path(str(tls.ca_file))
        return tls


class Intake(analysis_pb2_grpc.AnalysisIntakeServiceServicer):
    """Knows no job."""

    async def BatchCheckJobs(
        self, request: analysis_pb2.BatchCheckJobsRequest, context: Context
    ) -> analysis_pb2.BatchCheckJobsResponse:
        return analysis_pb2.BatchCheckJobsResponse()


class Uploads(upload_pb2_grpc.UploadServiceServicer):
    """Remembers who called."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []

    async def GetUpload(
        self, request: upload_pb2.GetUploadRequest, context: Context
    ) -> upload_pb2.Upload:
        self.callers.append(caller_of(context))
        return upload_pb2.Upload()


class Tus(tus_pb2_grpc.TusServiceServicer):
    """Answers everyone."""

    async def GetTusOptions(
        self, request: tus_pb2.GetTusOptionsRequest, context: Context
    ) -> HttpBody:
        return HttpBody()


class Service:
    """A service, with and without TLS."""

    def __init__(self, own: Tls) -> None:
        self.uploads = Uploads()  # type: ignore[abstract]
        self.server = grpc.aio.server(interceptors=[CallInterceptor(), AccessCheck(guests=True)])
        analysis_pb2_grpc.add_AnalysisIntakeServiceServicer_to_server(
            Intake(),  # type: ignore[abstract]
            self.server,
        )
        upload_pb2_grpc.add_UploadServiceServicer_to_server(self.uploads, self.server)
        tus_pb2_grpc.add_TusServiceServicer_to_server(
            Tus(),  # type: ignore[abstract]
            self.server,
        )
        credentials = server_credentials(own)
        self.port = self.server.add_secure_port(f"{LOOPBACK}:0", credentials)
        self.plain_port = self.server.add_insecure_port(f"{LOOPBACK}:0")

    @asynccontextmanager
    async def called_by(self, tls: Tls | None) -> AsyncIterator[Client]:
        """A client with this certificate; None: without TLS."""
        if tls is None:
            channel = grpc.aio.insecure_channel(f"{LOOPBACK}:{self.plain_port}")
        else:
            credentials = tls.read().channel_credentials()
            channel = grpc.aio.secure_channel(f"{LOOPBACK}:{self.port}", credentials)
        async with channel:
            yield Client(channel)


class Client:
    """Calls rpcs, with the metadata that the gateway sets."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._intake = analysis_pb2_grpc.AnalysisIntakeServiceStub(channel)
        self._uploads = upload_pb2_grpc.UploadServiceStub(channel)
        self._tus = tus_pb2_grpc.TusServiceStub(channel)

    async def check_jobs(self, metadata: Any = ()) -> str:
        """Call an internal rpc of analysis, for upload; returns the reason of the refusal."""
        request = analysis_pb2.BatchCheckJobsRequest()
        return await reason_of(self._intake.BatchCheckJobs(request, metadata=metadata))

    async def get_upload(self, metadata: Any = ()) -> str:
        """Call an rpc of learners; returns the reason of the refusal."""
        request = upload_pb2.GetUploadRequest()
        return await reason_of(self._uploads.GetUpload(request, metadata=metadata))

    async def options(self) -> str:
        """Call a public rpc; returns the reason of the refusal."""
        return await reason_of(self._tus.GetTusOptions(tus_pb2.GetTusOptionsRequest()))


async def reason_of(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        status, info = rpc_status.from_call(cast("grpc.Call", error)), error_details_pb2.ErrorInfo()
        assert status is not None
        status.details[0].Unpack(info)
        return f"{error.code().name} {info.reason}"
    return ""


REFUSED = "PERMISSION_DENIED ROLE_MISSING"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(certificates: Certificates) -> AsyncIterator[Service]:
    service = Service(certificates.of(LOOPBACK, "analysis"))
    await service.server.start()
    yield service
    await service.server.stop(None)


async def test_upload_may_call_the_intake_and_no_other_service_may(
    service: Service, certificates: Certificates
) -> None:
    for name, reason in (("upload", ""), ("catalog", REFUSED), ("gateway", REFUSED)):
        async with service.called_by(certificates.of(name, f"{name}.sori.svc")) as client:
            assert await client.check_jobs() == reason, name
            # Metadata make no difference.
            assert await client.check_jobs(AS_OPERATOR) == reason, name


async def test_only_the_gateway_states_who_calls(
    service: Service, certificates: Certificates
) -> None:
    async with service.called_by(certificates.of("gateway")) as client:
        assert await client.get_upload(AS_OPERATOR) == ""
    expected = Caller("learner-1", frozenset({"operator"}), is_account=True)
    assert service.uploads.callers[-1] == expected
    for name in ("analysis", "catalog", "gateway.example.com"):
        async with service.called_by(certificates.of(name)) as client:
            assert await client.get_upload(AS_OPERATOR) == REFUSED


async def test_a_certificate_without_names_is_not_trusted(
    service: Service, certificates: Certificates
) -> None:
    async with service.called_by(certificates.without_names("upload")) as client:
        assert await client.check_jobs() == REFUSED
        assert await client.get_upload(AS_OPERATOR) == REFUSED


async def test_a_tool_with_the_certificate_of_the_service_itself_is_trusted(
    service: Service, certificates: Certificates
) -> None:
    async with service.called_by(certificates.of("upload", "upload.sori")) as client:
        assert await client.get_upload() == ""
        assert service.uploads.callers[-1] == TRUSTED
    async with service.called_by(certificates.of("analysis-worker")) as client:
        assert await client.check_jobs() == ""
        assert await client.get_upload() == REFUSED


async def test_every_service_may_call_public_rpcs(
    service: Service, certificates: Certificates
) -> None:
    for name in ("gateway", "catalog"):
        async with service.called_by(certificates.of(name)) as client:
            assert await client.options() == ""


async def test_without_tls_a_call_that_did_not_pass_the_gateway_is_trusted(
    service: Service,
) -> None:
    async with service.called_by(None) as client:
        assert await client.check_jobs() == ""
        assert await client.get_upload() == ""
        assert service.uploads.callers[-1] == TRUSTED
        assert await client.check_jobs(AS_OPERATOR) == REFUSED

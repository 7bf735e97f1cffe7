"""The accounts service on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import boto3
import grpc
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from services.accounts.clients import AnalysisOwnerClient, UploadOwnerClient
from services.accounts.parts import Parts
from services.accounts.servicer import AccountAdminServicer, AccountPictureServicer, AccountServicer
from services.accounts.settings import AccountsSettings
from services.accounts.store import PictureStore
from services.accounts.tables import metadata
from services.runtime.access import AccessCheck
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.interceptors import CallInterceptor
from services.runtime.object_store import ObjectStore
from sori.accounts.v1 import accounts_pb2_grpc
from sori.analysis.v1 import analysis_pb2_grpc
from sori.upload.v1 import upload_pb2_grpc
from tests.integration import sql
from tests.integration.accounts.peers import AnalysisOwner, UploadOwner
from tests.integration.accounts.service import Service


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server with an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    ).create_bucket(Bucket="sori")
    yield url
    server.stop()


@pytest.fixture
def settings(database_url: str, s3_endpoint: str) -> AccountsSettings:
    return AccountsSettings(
        s3_endpoint_url=s3_endpoint,
        aws_access_key_id="key",
        aws_secret_access_key=SecretStr("secret"),
        database_url=SecretStr(database_url),
        accounts_secret=SecretStr("a secret of at least 32 characters"),
    )


@asynccontextmanager
async def listening(server: grpc.aio.Server) -> AsyncIterator[str]:
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture(autouse=True)
def empty_schema(database_url: str) -> Iterator[None]:
    """No rows before and after each test. Signing keys may be sealed with another secret."""
    names = ", ".join(metadata.tables)
    sql.run(database_url, f"TRUNCATE {names}")
    yield
    sql.run(database_url, f"TRUNCATE {names}")


@pytest.fixture
async def service(settings: AccountsSettings, database: Database) -> AsyncIterator[Service]:
    analyses, uploads, peer_server = AnalysisOwner(), UploadOwner(), grpc.aio.server()
    analysis_pb2_grpc.add_AnalysisOwnerServiceServicer_to_server(analyses, peer_server)
    upload_pb2_grpc.add_UploadOwnerServiceServicer_to_server(uploads, peer_server)
    server = grpc.aio.server(interceptors=[CallInterceptor(), AccessCheck(guests=True)])
    async with (
        listening(peer_server) as peer,
        open_channel(peer) as peer_channel,
        ObjectStore.connect(settings) as objects,
    ):
        parts = Parts.assemble(
            settings,
            database,
            AnalysisOwnerClient(peer_channel),
            UploadOwnerClient(peer_channel),
            objects,
        )
        await parts.keys.refresh()
        accounts_pb2_grpc.add_AccountServiceServicer_to_server(AccountServicer(parts), server)
        accounts_pb2_grpc.add_AccountAdminServiceServicer_to_server(
            AccountAdminServicer(parts), server
        )
        accounts_pb2_grpc.add_AccountPictureServiceServicer_to_server(
            AccountPictureServicer(PictureStore(database)), server
        )
        async with listening(server) as address, grpc.aio.insecure_channel(address) as channel:
            yield Service(
                parts,
                accounts_pb2_grpc.AccountServiceStub(channel),
                accounts_pb2_grpc.AccountAdminServiceStub(channel),
                analyses.stored,
                uploads.stored,
                accounts_pb2_grpc.AccountPictureServiceStub(channel),
                objects,
            )

"""PostgreSQL, an S3 server, the catalog and analysis, without the upload service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest
import pytest_asyncio
from aiobotocore.session import get_session
from pydantic import SecretStr

from services.accounts.servicer import AccountPictureServicer
from services.accounts.store import PictureStore
from services.analysis.servicer import AnalysisIntakeServicer
from services.analysis.settings import AnalysisSettings
from services.analysis.store import JobStore
from services.catalog.clients import AnalysisClient
from services.catalog.models import Actor, Token
from services.catalog.servicer import CatalogServicer
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.registry import PROGRAMS
from services.runtime.database import Database
from services.runtime.interceptors import CallInterceptor, Context
from services.runtime.object_store import ObjectStore
from services.runtime.settings import DatabaseSettings, ObjectStoreSettings
from services.runtime.watch_limit import WatchLimit
from sori.accounts.v1.accounts_pb2_grpc import add_AccountPictureServiceServicer_to_server
from sori.analysis.v1.analysis_pb2 import SubmitRecordingRequest, SubmitRecordingResponse
from sori.analysis.v1.analysis_pb2_grpc import add_AnalysisIntakeServiceServicer_to_server
from sori.catalog.v1.catalog_pb2_grpc import add_CatalogServiceServicer_to_server
from stack.stack import Stack
from tests.databases import copy_database
from tests.integration.upload.process import Backends


@pytest.fixture(scope="package")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    without = (*PROGRAMS, "analyzer", "gateway")
    folder = tmp_path_factory.mktemp("storage")
    copy_database(folder)
    with Stack.on_free_ports(folder, without=without, seeded=False) as stack:
        yield stack


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def backends(storage: Stack) -> AsyncIterator[Backends]:
    s3 = storage.s3
    settings = ObjectStoreSettings(
        s3_endpoint_url=s3.endpoint_url,
        s3_bucket_name=s3.bucket,
        aws_region=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=SecretStr(s3.secret_key),
    )
    database_settings = DatabaseSettings(database_url=SecretStr(storage.database_url))
    async with (
        running_analysis(database_settings) as analysis_address,
        Database(database_settings, "test") as database,
        ObjectStore.connect(settings) as objects,
        running_catalog(database, objects, analysis_address) as catalog_address,
        running_accounts(database) as accounts_address,
        get_session().create_client(
            "s3",
            endpoint_url=s3.endpoint_url,
            region_name=s3.region,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
        ) as client,
    ):
        store = CatalogStore(database)
        actor = await store.actors.create(Actor("수지"))
        token = await store.tokens.create(Token("건축학개론", (actor.id or 0,), "", "", 0, 5))
        yield Backends(
            database,
            objects,
            client,
            s3.bucket,
            analysis_address,
            catalog_address,
            accounts_address,
            token_id=token.id or 0,
        )


class OlderAnalysis(AnalysisIntakeServicer):
    """An analysis service of the release before SubmitRecording."""

    async def SubmitRecording(
        self, request: SubmitRecordingRequest, context: Context
    ) -> SubmitRecordingResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")


@pytest_asyncio.fixture(loop_scope="package")
async def older_backends(storage: Stack, backends: Backends) -> AsyncIterator[Backends]:
    """The same parts during a rollout: the analysis service is an older release."""
    settings = DatabaseSettings(database_url=SecretStr(storage.database_url))
    async with running_analysis(settings, OlderAnalysis) as address:
        yield replace(backends, analysis_address=address)


@asynccontextmanager
async def running_analysis(
    database_settings: DatabaseSettings,
    servicer: type[AnalysisIntakeServicer] = AnalysisIntakeServicer,
) -> AsyncIterator[str]:
    """The analysis service's rpcs for uploads, in this process; gives their address."""
    settings = AnalysisSettings(webhook_signing_key=SecretStr("a key of some length"))
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    port = server.add_insecure_port("127.0.0.1:0")
    async with Database(database_settings, "test-analysis") as database:
        add_AnalysisIntakeServiceServicer_to_server(servicer(settings, JobStore(database)), server)
        await server.start()
        yield f"127.0.0.1:{port}"
        await server.stop(None)


@asynccontextmanager
async def running_catalog(
    database: Database, objects: ObjectStore, analysis_address: str
) -> AsyncIterator[str]:
    """The catalog's rpcs, in this process; gives their address."""
    store = CatalogStore(database)
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    port = server.add_insecure_port("127.0.0.1:0")
    async with grpc.aio.insecure_channel(analysis_address) as analysis:
        servicer = CatalogServicer(
            store,
            objects,
            AnalysisClient(analysis),
            ViewCounter(store.tokens, 60),
            TokenWatch(store.changes, database, 60),
            WatchLimit(per_client=0, total=0),
        )
        add_CatalogServiceServicer_to_server(servicer, server)
        await server.start()
        yield f"127.0.0.1:{port}"
        await server.stop(None)


@asynccontextmanager
async def running_accounts(database: Database) -> AsyncIterator[str]:
    """The accounts service's rpcs for pictures, in this process; gives their address."""
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    port = server.add_insecure_port("127.0.0.1:0")
    servicer = AccountPictureServicer(PictureStore(database))
    add_AccountPictureServiceServicer_to_server(servicer, server)
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)

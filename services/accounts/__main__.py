"""Run the accounts service: `python -m services.accounts [--processes N]`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack

import services.runtime.quick_start  # noqa: F401 (first, for its effect)
from services.accounts.background import background_of
from services.accounts.clients import AnalysisOwnerClient, UploadOwnerClient
from services.accounts.parts import Parts
from services.accounts.servicer import (
    AccountAdminServicer,
    AccountPictureServicer,
    AccountServicer,
)
from services.accounts.settings import AccountsSettings
from services.accounts.store import PictureStore
from services.registry import ACCOUNTS
from services.runtime.allocator import configure_allocator
from services.runtime.channels import open_channel
from services.runtime.database import Database
from services.runtime.logs import configure_logs
from services.runtime.object_store import ObjectStore
from services.runtime.processes import add_processes_argument, become_parent
from services.runtime.schema import SchemaProbe
from services.runtime.server import Server
from sori.accounts.v1 import accounts_pb2_grpc


async def main(settings: AccountsSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_allocator()
    configure_logs(ACCOUNTS.name, settings.log_level)
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(Database(settings, ACCOUNTS.name))
        analysis, upload = [
            await resources.enter_async_context(open_channel(address, settings.tls))
            for address in (settings.analysis_address, settings.upload_address)
        ]
        objects = await resources.enter_async_context(ObjectStore.connect(settings))
        parts = Parts.assemble(
            settings, database, AnalysisOwnerClient(analysis), UploadOwnerClient(upload), objects
        )
        await resources.enter_async_context(parts.provider_http)
        server = Server(
            settings,
            ACCOUNTS,
            probes={
                "database": SchemaProbe(database, ACCOUNTS.name),
                "signing keys": parts.keys.probe,
            },
            max_calls=settings.accounts_max_calls,
        )
        accounts_pb2_grpc.add_AccountServiceServicer_to_server(AccountServicer(parts), server.grpc)
        accounts_pb2_grpc.add_AccountAdminServiceServicer_to_server(
            AccountAdminServicer(parts), server.grpc
        )
        accounts_pb2_grpc.add_AccountPictureServiceServicer_to_server(
            AccountPictureServicer(PictureStore(database)), server.grpc
        )
        await server.run(settings.accounts_listen, background=background_of(parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m services.accounts", description=__doc__)
    add_processes_argument(parser)
    processes, settings = parser.parse_args().processes, AccountsSettings.read()
    become_parent(
        processes,
        ACCOUNTS.name,
        settings.log_level,
        settings.accounts_listen,
        settings.health_listen,
    )
    asyncio.run(main(settings))

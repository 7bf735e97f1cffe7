"""Rpcs that import and export the catalog."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from services.catalog.importer import Progress, import_file
from services.catalog.store import Exports, Imports
from services.runtime.interceptors import Context
from sori.catalog.v1 import catalog_pb2 as pb


class BulkRpcs:
    """Imports and exports all resources."""

    def __init__(self, imports: Imports, exports: Exports) -> None:
        self._imports = imports
        self._exports = exports

    async def ImportCatalog(
        self, request: AsyncIterator[pb.ImportCatalogRequest], context: Context
    ) -> AsyncIterator[pb.ImportCatalogResponse]:
        first = await anext(request, pb.ImportCatalogRequest())

        async def chunks() -> AsyncIterator[bytes]:
            yield first.chunk
            async for message in request:
                yield message.chunk

        async with aclosing(import_file(chunks(), first.first_line, self._imports)) as reports:
            async for progress in reports:
                yield _response(progress)

    async def ExportCatalog(
        self, request: pb.ExportCatalogRequest, context: Context
    ) -> AsyncIterator[pb.ExportCatalogResponse]:
        async with aclosing(self._exports.lines()) as chunks:
            async for chunk in chunks:
                yield pb.ExportCatalogResponse(chunk=chunk)


def _response(progress: Progress) -> pb.ImportCatalogResponse:
    return pb.ImportCatalogResponse(
        last_line=progress.last_line,
        created=progress.created,
        updated=progress.updated,
        unchanged=progress.unchanged,
        refused=progress.refused,
        refused_lines=[
            pb.RefusedLine(line=line, reason=reason) for line, reason in progress.refusals
        ],
    )

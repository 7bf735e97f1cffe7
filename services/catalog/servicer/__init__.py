"""The CatalogService: protobuf in, domain call, protobuf out."""

from __future__ import annotations

from services.catalog.clients import AnalysisClient
from services.catalog.page_messages import PageMessages
from services.catalog.recent_changes import RecentChangesReader
from services.catalog.servicer.actors import ActorRpcs
from services.catalog.servicer.bulk import BulkRpcs
from services.catalog.servicer.scripts import ScriptRpcs
from services.catalog.servicer.tokens import TokenRpcs
from services.catalog.store import CatalogStore
from services.catalog.token_messages import TokenMessages
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.runtime.object_store import ObjectStore
from services.runtime.watch_limit import WatchLimit
from sori.catalog.v1 import catalog_pb2_grpc

PAGE_SHARE = 8
"""One part of so many of the memory for responses is for lists and searches."""


class CatalogServicer(
    ActorRpcs, TokenRpcs, ScriptRpcs, BulkRpcs, catalog_pb2_grpc.CatalogServiceServicer
):
    """All rpcs of the catalog. Each resource has its own module."""

    def __init__(
        self,
        store: CatalogStore,
        objects: ObjectStore,
        analysis: AnalysisClient,
        view_counter: ViewCounter,
        watch: TokenWatch,
        watch_limit: WatchLimit,
        cache_bytes: int = 0,
    ) -> None:
        """Create a servicer. cache_bytes: of the responses in memory; 0: none."""
        changes = RecentChangesReader(store.changes)
        page_bytes = cache_bytes // PAGE_SHARE
        messages = TokenMessages(store.tokens, changes, objects, cache_bytes - page_bytes)
        page_messages = PageMessages(changes, page_bytes)
        view_counter.on_stored(messages.forget)
        ActorRpcs.__init__(self, store.actors, store.search)
        TokenRpcs.__init__(
            self,
            store.tokens,
            store.pages,
            store.search,
            messages,
            page_messages,
            analysis,
            view_counter,
            watch,
            watch_limit,
        )
        ScriptRpcs.__init__(self, store.scripts)
        BulkRpcs.__init__(self, store.imports, store.exports)

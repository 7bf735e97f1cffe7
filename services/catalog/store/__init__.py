"""All SQL of the catalog.

Lock order, so that concurrent writes cannot deadlock: the token before its scripts, and the
token before its row in `token_changes`.
"""

from __future__ import annotations

from services.catalog.store.actors import ActorStore
from services.catalog.store.changes import ChangeStore, RecentChanges
from services.catalog.store.exports import Exports
from services.catalog.store.idempotency import CreateOptions
from services.catalog.store.imports import Imports, Outcome
from services.catalog.store.pages import Ring, TokenPages
from services.catalog.store.scripts import ScriptStore
from services.catalog.store.search import Search
from services.catalog.store.tokens import TokenStore
from services.runtime.database import Database

__all__ = [
    "ActorStore",
    "CatalogStore",
    "ChangeStore",
    "CreateOptions",
    "Exports",
    "Imports",
    "Outcome",
    "RecentChanges",
    "Ring",
    "ScriptStore",
    "Search",
    "TokenPages",
    "TokenStore",
]


class CatalogStore:
    """The parts of the store, on one database."""

    def __init__(self, database: Database) -> None:
        self.actors = ActorStore(database)
        self.tokens = TokenStore(database)
        self.pages = TokenPages(database)
        self.scripts = ScriptStore(database)
        self.search = Search(database)
        self.changes = ChangeStore(database)
        self.imports = Imports(database)
        self.exports = Exports(database)

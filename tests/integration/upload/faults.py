"""Faults at the await points of a session: its calls to S3, PostgreSQL and analysis.

The calls reach the real parts, except for the one that has the fault. After the
process has died, no call gets through.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum, auto
from typing import Any, TypeVar, cast

from services.runtime.errors import DatabaseUnavailable, SoriError, StorageUnavailable
from services.runtime.object_store import ObjectStore
from services.runtime.shared_errors import AnalysisUnavailable
from services.upload.clients import AnalysisClient
from services.upload.store import UploadStore, WriterStore

_Store = TypeVar("_Store", UploadStore, WriterStore)


class Fault(Enum):
    """A fault at an await point."""

    FAILS = auto()
    """The request does not arrive, and the caller receives an error."""
    ANSWER_LOST = auto()
    """The request succeeds, but the caller receives an error."""
    CANCELLED = auto()
    """The client disconnects, which cancels the session; the request succeeds."""
    DIES = auto()
    """The request succeeds, and the process dies before the answer."""


class Died(BaseException):
    """The process is dead."""


class Faults:
    """Records await points, and injects one fault.

    session: the task that CANCELLED cancels.
    reached: called at each await point, with the names of all points so far.
    """

    def __init__(self, fault: Fault | None = None, at: int | str = -1) -> None:
        """at: the number of the await point that has the fault, from 0, or a name of points."""
        self.points: list[str] = []
        self._fault = fault
        self._at = at
        self.is_dead = False
        self.session: asyncio.Task[None] | None = None
        self.reached: Callable[[list[str]], None] = lambda _: None

    async def call(
        self, name: str, error: type[SoriError], request: Callable[[], Awaitable[Any]]
    ) -> Any:
        if self.is_dead:
            raise Died
        is_here = self._at in (len(self.points), name)
        self.points.append(name)
        self.reached(self.points)
        if not is_here:
            return await request()
        if self._fault is Fault.FAILS:
            raise error
        if self._fault is Fault.CANCELLED:
            assert self.session is not None
            self.session.cancel()
            return await request()
        await request()
        if self._fault is Fault.DIES:
            self.is_dead = True
            raise Died
        raise error


class _Faulty:
    """Forwards calls to the real object, through the faults."""

    def __init__(self, inner: object, error: type[SoriError], faults: Faults) -> None:
        self._inner = inner
        self._error = error
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await self._faults.call(name, self._error, lambda: method(*arguments, **options))

        return call


class _FaultyObjects(_Faulty):
    async def read(self, key: str) -> AsyncIterator[bytes]:
        async def pieces() -> list[bytes]:
            return [piece async for piece in cast(ObjectStore, self._inner).read(key)]

        for piece in await self._faults.call("read", self._error, pieces):
            yield piece


def faulty_analysis(analysis: AnalysisClient, faults: Faults) -> AnalysisClient:
    """The client of analysis behind the faults."""
    return cast(AnalysisClient, _Faulty(analysis, AnalysisUnavailable, faults))


def faulty_store(store: _Store, faults: Faults) -> _Store:
    """The store, whose calls have the faults."""
    return cast("_Store", _Faulty(store, DatabaseUnavailable, faults))


def faulty_objects(objects: ObjectStore, faults: Faults) -> ObjectStore:
    """The object store, whose calls have the faults."""
    return cast(ObjectStore, _FaultyObjects(objects, StorageUnavailable, faults))

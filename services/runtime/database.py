"""PostgreSQL: one engine a process, and one meaning of "it does not answer"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

import asyncpg
import structlog
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.runtime.errors import DatabaseUnavailable
from services.runtime.settings import DatabaseSettings

CONNECT_TIMEOUT_SECONDS = 3.0
COMMAND_TIMEOUT_SECONDS = 15.0
PROBE_SECONDS = 5.0
RECONNECT_SECONDS = 0.5

_logger = structlog.get_logger(__name__)


def create_engine(
    settings: DatabaseSettings,
    application_name: str,
    *,
    command_timeout: float | None = None,
    **options: Any,
) -> AsyncEngine:
    """An engine whose connections asyncpg makes by itself: it knows libpq's `sslmode` and more.

    command_timeout: seconds that a statement may take; default: any.
    options: of SQLAlchemy's `create_async_engine`.
    """
    connector = _connector(settings, application_name, command_timeout)
    return create_async_engine("postgresql+asyncpg://", async_creator=connector, **options)


def _connector(
    settings: DatabaseSettings, application_name: str, command_timeout: float | None
) -> Callable[[], Awaitable[asyncpg.Connection]]:
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
    return partial(
        asyncpg.connect,
        url.render_as_string(hide_password=False),
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=command_timeout,
        server_settings={"application_name": application_name},
    )


class Database:
    """The connections of one process to PostgreSQL."""

    def __init__(self, settings: DatabaseSettings, application_name: str) -> None:
        self._settings = settings
        self._application_name = application_name
        self._engine = create_engine(
            settings,
            application_name,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_SECONDS,
            pool_pre_ping=True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end.

        Errors: DatabaseUnavailable when PostgreSQL does not answer.
        """
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (OSError, PoolTimeoutError, OperationalError, InterfaceError) as error:
            raise DatabaseUnavailable from error
        except DBAPIError as error:
            if error.connection_invalidated or _is_unavailable(error.orig):
                raise DatabaseUnavailable from error
            raise

    async def listen(
        self, channel: str, heard: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        """Follow a channel for ever, on a connection of its own that is opened again and again.

        heard: called with the payload of each notice.
        missed: called when notices may have been missed: when a connection is new, and
            after each look at whether it still lives, every five seconds.
        """
        while True:
            try:
                await self._listen_once(channel, heard, missed)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _logger.warning("notices interrupted", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(
        self, channel: str, heard: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        connection = await self._listening_connection()
        try:
            # asyncpg gives connection, process id, channel and payload.
            await connection.add_listener(channel, lambda *notice: heard(str(notice[-1])))
            while True:
                missed()
                await asyncio.sleep(PROBE_SECONDS)
                # A LISTEN connection can die without a sign.
                await connection.execute("SELECT 1")
        finally:
            connection.terminate()

    async def _listening_connection(self) -> asyncpg.Connection:
        connection: asyncpg.Connection = await _connector(
            self._settings,
            f"{self._application_name}-listen",
            command_timeout=CONNECT_TIMEOUT_SECONDS,
        )()
        return connection

    async def probe(self) -> None:
        """Return when PostgreSQL answers, raise DatabaseUnavailable otherwise."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))


def _is_unavailable(error: BaseException | None) -> bool:
    """Connection errors (class 08), shutdown (57P), too many clients (53300), deadlocks (40P01)."""
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith(("08", "57P")) or state in ("53300", "40P01")

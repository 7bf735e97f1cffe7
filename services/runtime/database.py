"""PostgreSQL: one engine per process, and one translation of its failures."""

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
from services.runtime.periodic import keep_running
from services.runtime.settings import DatabaseSettings

CONNECT_TIMEOUT_SECONDS = 3.0
COMMAND_TIMEOUT_SECONDS = 15.0
PROBE_SECONDS = 5.0
RECONNECT_SECONDS = 0.5

# Codes of PostgreSQL (SQLSTATE): undefined_table, invalid_schema_name.
_SCHEMA_MISSING = ("42P01", "3F000")
# too_many_connections, deadlock_detected.
_OVERLOAD = ("53300", "40P01")
# The classes of connection errors and of shutdowns.
_CONNECTION_LOST = ("08", "57P")

_logger = structlog.get_logger(__name__)


def create_engine(
    settings: DatabaseSettings,
    application_name: str,
    *,
    command_timeout: float | None = None,
    **options: Any,
) -> AsyncEngine:
    """An engine whose connections asyncpg opens from the URL: it reads libpq's `sslmode`.

    command_timeout: the most seconds that a statement may run; default: unlimited.
    options: passed to SQLAlchemy's `create_async_engine`.
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
        """A transaction that is committed when the context ends.

        Errors: DatabaseUnavailable if PostgreSQL does not respond, or if the schema is missing.
        """
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (OSError, PoolTimeoutError, OperationalError, InterfaceError) as error:
            raise DatabaseUnavailable from error
        # Code that uses asyncpg's own connection gets asyncpg's own errors.
        except (DBAPIError, asyncpg.PostgresError) as error:
            if _is_unavailable(error):
                raise DatabaseUnavailable from error
            raise

    async def listen(
        self, channel: str, received: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        """Receive the notifications of a channel until cancelled, on a separate connection.

        A broken connection is opened again.

        received: called with the payload of each notification.
        missed: called if notifications may have been missed: on every new connection, and
            every five seconds, when the connection is checked.
        """
        await keep_running(
            f"listen to {channel}",
            partial(self._listen_once, channel, received, missed),
            max_backoff_seconds=RECONNECT_SECONDS,
        )

    async def _listen_once(
        self, channel: str, received: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        try:
            connection = await self._listening_connection()
            try:
                # asyncpg passes connection, process id, channel and payload.
                await connection.add_listener(channel, lambda *values: received(str(values[-1])))
                while True:
                    missed()
                    await asyncio.sleep(PROBE_SECONDS)
                    # A LISTEN connection can die without a sign.
                    await connection.execute("SELECT 1")
            finally:
                connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseUnavailable from error

    async def _listening_connection(self) -> asyncpg.Connection:
        return await _connector(
            self._settings,
            f"{self._application_name}-listen",
            command_timeout=CONNECT_TIMEOUT_SECONDS,
        )()

    async def probe(self) -> None:
        """Return if PostgreSQL responds.

        Errors: DatabaseUnavailable.
        """
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))


def _is_unavailable(error: DBAPIError | asyncpg.PostgresError) -> bool:
    """Whether a later attempt may succeed: broken connections, overload, a missing schema."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None) or ""
    if state in _SCHEMA_MISSING:
        _logger.warning(
            "the schema is missing",
            error=str(cause),
            advice="Run `python -m services.runtime.migrations`.",
        )
    return state in (*_SCHEMA_MISSING, *_OVERLOAD) or state.startswith(_CONNECTION_LOST)

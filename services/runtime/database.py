"""PostgreSQL: one engine per process, and one translation of its failures."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial, wraps
from itertools import product
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg
import structlog
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from services.runtime.database_url import DatabaseUrl
from services.runtime.errors import DatabaseUnavailable
from services.runtime.periodic import keep_running
from services.runtime.row_details import remove_row_details
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
# read_only_sql_transaction: this host was the primary when the connection was opened.
_NO_PRIMARY = "25006"

# The errors of a host after which another host may be better.
_NEXT_HOST = (asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)

_UNAVAILABLE = (
    *(OSError, PoolTimeoutError, OperationalError, InterfaceError),
    *(asyncpg.InterfaceError, asyncpg.PostgresConnectionError),
)

_Store = TypeVar("_Store", bound=type)

_logger = structlog.get_logger(__name__)


def create_engine(
    settings: DatabaseSettings,
    application_name: str,
    *,
    command_timeout: float | None = None,
    **options: Any,
) -> AsyncEngine:
    """An engine whose connections asyncpg opens from the URL.

    command_timeout: the most seconds that a statement may run; default: unlimited.
    options: passed to SQLAlchemy's `create_async_engine`.
    """
    connector = _connector(settings, application_name, command_timeout)
    # The texts of errors reach the log, and parameters can be hashes of passwords.
    return create_async_engine(
        "postgresql+asyncpg://", async_creator=connector, hide_parameters=True, **options
    )


def _connector(
    settings: DatabaseSettings, application_name: str, command_timeout: float | None
) -> Callable[[], Awaitable[asyncpg.Connection]]:
    url = DatabaseUrl.parse(settings.database_url.get_secret_value())
    timeout = CONNECT_TIMEOUT_SECONDS if url.connect_timeout is None else url.connect_timeout
    arguments: dict[str, Any] = {
        "timeout": timeout or None,
        "command_timeout": command_timeout,
        "server_settings": {"application_name": application_name},
    }
    if url.is_verified_by_system:
        arguments["ssl"] = ssl.create_default_context()
    return partial(_connect, url, arguments)


async def _connect(url: DatabaseUrl, arguments: dict[str, Any]) -> Any:
    """Connect to the first host that responds and has the session attributes.

    asyncpg can try several hosts itself, but within one timeout: a host that does not respond
    would use it up. Errors: ConnectionError, or asyncpg's error if the server refuses.
    """
    error: Exception | None = None
    for attributes, host in product(url.session_attributes, url.hosts):
        wanted = {"target_session_attrs": attributes, **arguments}
        try:
            connection = await asyncpg.connect(host, **wanted)
        except (OSError, TimeoutError, *_NEXT_HOST) as failure:
            error = failure
        else:
            _set_socket_options(connection, url)
            return connection
    raise ConnectionError(str(error)) from error


def _set_socket_options(connection: Any, url: DatabaseUrl) -> None:
    # asyncpg has no public way to its socket.
    tcp = connection._transport.get_extra_info("socket")
    if tcp.family != socket.AF_UNIX:
        for option in url.socket_options:
            tcp.setsockopt(*option)


def retried_on_schema_change(store: _Store) -> _Store:
    """A class decorator: runs public methods again, once, if a column changed its type meanwhile.

    Such a method may have one transaction, or transactions that can be repeated. Asynchronous
    generators are not repeated: their caller gets DatabaseUnavailable.
    """
    for name, method in list(vars(store).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(store, name, _retried(method))
    return store


def _retried(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def retried(*arguments: Any, **options: Any) -> Any:
        try:
            return await method(*arguments, **options)
        except DatabaseUnavailable as error:
            if not _has_outdated_statement(error.__cause__):
                raise
        return await method(*arguments, **options)

    return retried


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
        )
        event.listen(self._engine.sync_engine, "checkout", _require_open)
        self._ended_transactions = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._engine.dispose()

    @property
    def ended_transactions(self) -> int:
        """How many transactions of this process have ended, committed or not."""
        return self._ended_transactions

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed when the context ends.

        Errors: DatabaseUnavailable if PostgreSQL does not respond, if the schema is missing, or
        if a column changed its type while this process was running; then see
        `retried_on_schema_change`.
        """
        try:
            async with self._translated_errors(), self._engine.begin() as connection:
                yield connection
        finally:
            self._ended_transactions += 1

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the same pool without SQLAlchemy, for the statements of `Statement`.

        Each statement is a transaction of its own: one round trip, and a fifth of the CPU time
        of `transaction`. Errors: as `transaction`.
        """
        async with self._translated_errors():
            pooled: Any = await self._engine.raw_connection()
            try:
                yield pooled.driver_connection
            except (asyncio.CancelledError, TimeoutError):
                # Its statement may still run.
                pooled.invalidate()
                raise
            finally:
                await greenlet_spawn(pooled.close)

    @asynccontextmanager
    async def _translated_errors(self) -> AsyncIterator[None]:
        try:
            yield
        # Code that uses asyncpg's own connection gets asyncpg's own errors.
        except (
            *(DBAPIError, PoolTimeoutError, OSError),
            *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.OutdatedSchemaCacheError),
        ) as error:
            remove_row_details(error)
            if _has_outdated_statement(error):
                _logger.warning("the schema changed", error=str(error))
                # Every connection has its own prepared statements.
                await self._engine.dispose()
                raise DatabaseUnavailable from error
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
        async with self.connection() as connection:
            await connection.execute("SELECT 1")


def _require_open(connection: Any, *_: object) -> None:
    """Let the pool replace a connection that PostgreSQL has closed; costs no round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _cause(error: BaseException | None) -> BaseException | None:
    """Asyncpg's own error, if SQLAlchemy wraps it."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _has_outdated_statement(error: BaseException | None) -> bool:
    """Whether a statement was prepared before a column changed its type (asyncpg #458)."""
    return isinstance(
        _cause(error), (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
    )


def _is_unavailable(error: Exception) -> bool:
    """Whether a later attempt may succeed: broken connections, overload, a missing schema."""
    if isinstance(error, _UNAVAILABLE):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = getattr(_cause(error), "sqlstate", None) or ""
    if state in _SCHEMA_MISSING:
        _logger.warning(
            "the schema is missing",
            error=str(error),
            advice="Run `python -m services.runtime.migrations`.",
        )
    return state in (*_SCHEMA_MISSING, *_OVERLOAD, _NO_PRIMARY) or state.startswith(
        _CONNECTION_LOST
    )

"""Services connect to PostgreSQL with the parameters and hosts of DATABASE_URL."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.settings import DatabaseSettings
from stack import postgres
from stack.environment import ROOT
from stack.ports import free_ports


@pytest.fixture
def silent_address() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        yield f"{host}:{port}"


def place_of(database_url: str) -> str:
    return urlsplit(database_url).netloc.rpartition("@")[2]


async def answer(url: str, statement: str) -> Any:
    """The value that a statement returns on a new connection."""
    settings = DatabaseSettings(database_url=SecretStr(url))
    async with Database(settings, "test") as database, database.transaction() as connection:
        return await connection.scalar(text(statement))


@pytest.mark.parametrize(
    "query",
    [
        "sslmode=prefer&channel_binding=prefer",
        "connect_timeout=10",
        "keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3",
        "tcp_user_timeout=5000",
        "gssencmode=disable",
        "target_session_attrs=read-write",
        "target_session_attrs=prefer-standby",
        "application_name=other",
        "client_encoding=utf8",
    ],
)
async def test_parameters_of_libpq_connect(database_url: str, query: str) -> None:
    assert await answer(f"{database_url}?{query}", "SELECT 1") == 1


async def test_options_set_parameters_of_the_session(database_url: str) -> None:
    url = f"{database_url}?options=-c%20statement_timeout%3D7s"
    assert await answer(url, "SHOW statement_timeout") == "7s"


async def test_keepalives_are_set_on_the_socket(database_url: str) -> None:
    settings = DatabaseSettings(database_url=SecretStr(f"{database_url}?keepalives_idle=33"))
    async with Database(settings, "test") as database, database.transaction() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        tcp = driver._transport.get_extra_info("socket")
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33


async def test_the_service_names_its_connections(database_url: str) -> None:
    url = f"{database_url}?application_name=other"
    assert await answer(url, "SHOW application_name") == "test"


async def test_a_host_that_refuses_is_skipped(database_url: str) -> None:
    (port,) = free_ports(1)
    place = place_of(database_url)
    url = database_url.replace(place, f"127.0.0.1:{port},{place}")
    assert await answer(url, "SELECT 1") == 1


async def test_a_host_that_does_not_answer_is_skipped(
    database_url: str, silent_address: str
) -> None:
    place = place_of(database_url)
    url = database_url.replace(place, f"{silent_address},{place}") + "?connect_timeout=1"
    assert await answer(url, "SELECT 1") == 1


async def test_a_primary_is_no_standby(database_url: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        await answer(f"{database_url}?target_session_attrs=standby", "SELECT 1")


def test_migrations_and_back_ups_understand_the_same_url(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    place = place_of(database_url)
    hosts = database_url.replace(place, f"127.0.0.1:{port},{place}")
    url = f"{hosts}?connect_timeout=5&channel_binding=prefer&target_session_attrs=read-write"
    monkeypatch.setenv("DATABASE_URL", url)
    subprocess.run([sys.executable, "-m", "services.runtime.migrations", "catalog"], check=True)
    monkeypatch.setenv("PATH", f"{postgres.binaries()}:{os.environ['PATH']}")
    subprocess.run([ROOT / "deploy/scripts/backup.sh", tmp_path / "backup"], check=True)

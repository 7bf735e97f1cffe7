"""DATABASE_URL as hosted providers print it: every parameter is understood or refused by name."""

from __future__ import annotations

import socket

import pytest
from pydantic import ValidationError

from services.runtime.database_url import DatabaseUrl
from services.runtime.settings import DatabaseSettings

BASE = "postgresql://sori:p%40ss@db.example.com:5432/sori"
# All parameters of libpq in PostgreSQL 18.
LIBPQ = (
    "host hostaddr port dbname user password passfile require_auth channel_binding "
    "connect_timeout client_encoding options application_name fallback_application_name "
    "keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout "
    "replication gssencmode gssdelegation sslmode requiressl sslnegotiation sslcompression "
    "sslcert sslkey sslkeylogfile sslpassword sslcertmode sslrootcert sslcrl sslcrldir sslsni "
    "requirepeer ssl_min_protocol_version ssl_max_protocol_version min_protocol_version "
    "max_protocol_version krbsrvname gsslib scram_client_key scram_server_key service "
    "servicefile target_session_attrs load_balance_hosts oauth_issuer oauth_client_id "
    "oauth_client_secret oauth_scope "
)


def refusal(text: str) -> str:
    """Why a URL is refused; empty if it is not."""
    try:
        DatabaseUrl.parse(text)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("sslmode=require&channel_binding=prefer", id="Neon"),
        pytest.param("sslmode=require&options=endpoint%3Dep-cool-1", id="Neon without SNI"),
        pytest.param("sslmode=require", id="Heroku, DigitalOcean, Aiven, Render"),
        pytest.param("sslmode=verify-full&target_session_attrs=read-write", id="Azure"),
        pytest.param("sslmode=verify-full&sslrootcert=system", id="CockroachDB"),
        pytest.param("ssl=true&sslmode=require", id="JDBC"),
        pytest.param("connect_timeout=10&keepalives=1&keepalives_idle=30", id="RDS proxy"),
        pytest.param("gssencmode=disable&application_name=psql", id="Supabase"),
    ],
)
def test_urls_of_hosted_providers_are_understood(query: str) -> None:
    assert not refusal(f"{BASE}?{query}")


@pytest.mark.parametrize("name", LIBPQ.split())
def test_a_parameter_of_libpq_is_understood_or_refused_by_name(name: str) -> None:
    refused = refusal(f"postgresql:///?{name}=1")
    assert not refused or name in refused


@pytest.mark.parametrize(
    ("query", "advice"),
    [
        ("channel_binding=require", "channel_binding must be disable or prefer"),
        ("gssencmode=require", "gssencmode must be disable or prefer"),
        ("sslrootcert=system&sslmode=require", "sslmode=verify-full"),
        ("connect_timeout=soon", "connect_timeout must be an integer"),
        ("target_session_attrs=master", "target_session_attrs must be"),
        ("pgbouncer=true", "pgbouncer is not supported"),
    ],
)
def test_a_refused_parameter_is_named_without_the_password(
    monkeypatch: pytest.MonkeyPatch, query: str, advice: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{BASE}?{query}")
    with pytest.raises(SystemExit) as ended:
        DatabaseSettings.read()
    assert advice in str(ended.value)
    assert "DATABASE_URL" in str(ended.value)
    assert "p%40ss" not in str(ended.value)


def test_another_scheme_is_refused() -> None:
    with pytest.raises(ValidationError, match="postgresql://"):
        DatabaseSettings.model_validate({"database_url": "mysql://root@db/sori"})


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("postgres://a:1,b:2/sori", ["postgresql://a:1/sori?", "postgresql://b:2/sori?"]),
        ("postgresql://[::1]:1,[::2]/s", ["postgresql://[::1]:1/s?", "postgresql://[::2]/s?"]),
        (
            "postgresql:///s?host=a,b&port=1",
            ["postgresql:///s?host=a&port=1", "postgresql:///s?host=b&port=1"],
        ),
        ("postgresql:///s?host=%2Frun%2Fpg", ["postgresql:///s?host=%2Frun%2Fpg"]),
        ("postgresql://u:p@ss@h/s", ["postgresql://u:p%40ss@h/s?"]),
        ("postgresql+asyncpg://u@h/s", ["postgresql://u@h/s?"]),
    ],
)
def test_every_host_is_tried_in_order(text: str, hosts: list[str]) -> None:
    assert list(DatabaseUrl.parse(text).hosts) == hosts


def test_a_standby_is_preferred_to_any_host() -> None:
    url = DatabaseUrl.parse(f"{BASE}?target_session_attrs=prefer-standby")
    assert url.session_attributes == ("standby", "any")


def test_keepalives_become_socket_options() -> None:
    url = DatabaseUrl.parse(f"{BASE}?keepalives_idle=30&tcp_user_timeout=5000")
    assert url.socket_options == (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000),
    )


def test_ssl_true_requires_tls() -> None:
    assert "sslmode=require" in DatabaseUrl.parse(f"{BASE}?ssl=true").hosts[0]

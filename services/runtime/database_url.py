"""DATABASE_URL as libpq and hosted providers write it, for asyncpg.

asyncpg sends every parameter that it does not know to the server, which then refuses the
connection. So each parameter is in one of these groups: asyncpg understands it, this module
applies it, it asks for nothing that asyncpg does not do anyway, or it is refused by name.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

_BY_ASYNCPG = frozenset(
    {
        *("dbname", "user", "password", "passfile", "service", "options", "krbsrvname", "gsslib"),
        *("sslmode", "sslnegotiation", "sslrootcert", "sslcrl", "sslcert", "sslkey", "sslpassword"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
    }
)
_NUMBERS: Mapping[str, tuple[str, str] | None] = {
    "connect_timeout": None,
    "keepalives": ("SOL_SOCKET", "SO_KEEPALIVE"),
    "keepalives_idle": ("IPPROTO_TCP", "TCP_KEEPIDLE"),
    "keepalives_interval": ("IPPROTO_TCP", "TCP_KEEPINTVL"),
    "keepalives_count": ("IPPROTO_TCP", "TCP_KEEPCNT"),
    "tcp_user_timeout": ("IPPROTO_TCP", "TCP_USER_TIMEOUT"),
}
"""The parameters that are integers, with the level and name of the socket option that each sets."""

# Services set application_name themselves, so that each connection shows its service.
_BY_US = frozenset(["host", "port", "application_name", "fallback_application_name"])

_ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "gssdelegation": ("0",),
    "gssencmode": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
    "max_protocol_version": ("3.0", "3.2", "latest"),
    "min_protocol_version": ("3.0",),
    "replication": ("false", "off", "no", "0"),
    "requiressl": ("0",),
    "ssl": ("true",),
    "sslcertmode": ("allow",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "target_session_attrs": (
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
    ),
}
"""The values of other parameters that asyncpg, or this module, satisfies."""

_SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9]+)?://")


@dataclass(frozen=True)
class DatabaseUrl:
    """Where and how to connect.

    hosts: a URL for asyncpg for each host, in the order in which they are tried.
    session_attributes: the `target_session_attrs` that a host must have; if no host has the
        first, all hosts are tried with the next.
    connect_timeout: seconds that the attempt at one host may take; 0: unlimited; None: not given.
    socket_options: level, name and value of each.
    is_verified_by_system: whether the server's certificate must be for its host name and be
        signed by an authority that the operating system trusts (`sslrootcert=system`).
    """

    hosts: tuple[str, ...]
    session_attributes: tuple[str, ...]
    connect_timeout: int | None
    socket_options: tuple[tuple[int, int, int], ...]
    is_verified_by_system: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL. Errors: ValueError that names the parameter; it contains no secret."""
        if not _SCHEME.match(text):
            raise ValueError("it must begin with postgresql://")
        parts = urlsplit(_SCHEME.sub("postgresql://", text, count=1))
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name, value in parameters.items():
            _check(name, value)
        is_verified_by_system = parameters.get("sslrootcert") == "system"
        if is_verified_by_system:
            _check_system_verification(parameters)
        elif "ssl" in parameters:
            parameters.setdefault("sslmode", "require")
        attributes = parameters.get("target_session_attrs", "any")
        timeout = parameters.get("connect_timeout")
        return cls(
            hosts=tuple(_hosts(parts.netloc, parts.path, parameters)),
            session_attributes=(
                ("standby", "any") if attributes == "prefer-standby" else (attributes,)
            ),
            connect_timeout=None if timeout is None else max(0, int(timeout)),
            socket_options=tuple(_socket_options(parameters)),
            is_verified_by_system=is_verified_by_system,
        )


def _check(name: str, value: str) -> None:
    """Errors: ValueError if neither asyncpg nor this module does what the parameter asks for."""
    if name in _BY_ASYNCPG or name in _BY_US:
        return
    if name in _NUMBERS:
        if not re.fullmatch(r"-?[0-9]{1,9}", value):
            raise ValueError(f"{name} must be an integer")
    elif name not in _ACCEPTED:
        raise ValueError(f"the parameter {name} is not supported; remove it")
    elif value.lower() not in _ACCEPTED[name]:
        raise ValueError(f"{name} must be {' or '.join(_ACCEPTED[name])}, or absent")


def _check_system_verification(parameters: Mapping[str, str]) -> None:
    if parameters.get("sslmode", "verify-full") != "verify-full":
        raise ValueError("sslrootcert=system needs sslmode=verify-full")
    if "sslcert" in parameters:
        raise ValueError("sslcert is not supported together with sslrootcert=system")


def _socket_options(parameters: Mapping[str, str]) -> Iterator[tuple[int, int, int]]:
    """The options, with libpq's defaults: keepalives are on, and 0 is the system's default."""
    for name, option in _NUMBERS.items():
        value = int(parameters.get(name, "1" if name == "keepalives" else "0"))
        # As in libpq, an option that the operating system lacks has no effect.
        if option and hasattr(socket, option[1]) and (value > 0 or name == "keepalives"):
            yield getattr(socket, option[0]), getattr(socket, option[1]), value


def _hosts(netloc: str, path: str, parameters: Mapping[str, str]) -> Iterator[str]:
    """A URL for each host. A password may contain an "@" that is not percent-encoded."""
    passed = {name: value for name, value in parameters.items() if name in _BY_ASYNCPG}
    if passed.get("sslrootcert") == "system":
        # The TLS context replaces both.
        passed = {name: passed[name] for name in passed.keys() - {"sslrootcert", "sslmode"}}
    user, _, hosts = netloc.rpartition("@")
    name, colon, password = user.partition(":")
    if user:
        user = f"{quote(unquote(name))}{colon}{quote(unquote(password), safe='')}@"
    if hosts:
        for host in hosts.split(","):
            yield f"postgresql://{user}{host}{path}?{urlencode(passed)}"
        return
    names = parameters.get("host", "").split(",")
    ports = parameters.get("port", "").split(",")
    if len(ports) not in (1, len(names)):
        raise ValueError("port must have one value, or one for each host")
    for host, port in zip_longest(names, ports, fillvalue=ports[0]):
        place = {"host": host, "port": port}
        given = {name: value for name, value in place.items() if value}
        yield f"postgresql://{user}{path}?{urlencode(passed | given)}"

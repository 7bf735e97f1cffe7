"""PostgreSQL, S3 and SMTP servers of others that the user's variables name.

The stack uses them only if a setting says so. It migrates its database, seeds its catalog and
sends mails, and its list of programs shows its own servers. A variable that was set for
something else must not send any of that elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from stack.errors import StackError
from stack.settings import MAIL_SINK, StackSettings

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CONSEQUENCES = {
    "postgres": "`make up` would migrate and seed it",
    "s3": "`make up` would store recordings and samples there",
    MAIL_SINK: "`make up` would send its mails there",
}


@dataclass(frozen=True)
class External:
    """A server outside the stack that replaces one of its programs.

    program: the program that it replaces.
    variable: the variable that names it.
    place: its address, without password.
    """

    program: str
    variable: str
    place: str


def external_servers(
    settings: StackSettings, environment: Mapping[str, str]
) -> tuple[External, ...]:
    """The servers of others that the variables name and the settings allow.

    Errors: StackError that names each server that the settings do not allow.
    """
    candidates = {
        "postgres": ("DATABASE_URL", settings.postgres_port, settings.sori_use_database_url),
        "s3": ("S3_ENDPOINT_URL", settings.s3_port, settings.sori_use_s3_endpoint_url),
        MAIL_SINK: ("SMTP_URL", settings.mail_sink_port, settings.sori_use_smtp_url),
    }
    found, problems = [], []
    for program, (variable, own_port, is_allowed) in candidates.items():
        url = environment.get(variable, "")
        if not url or _is_own(url, own_port):
            continue
        external = External(program, variable, place_of(url))
        found.append(external)
        if not is_allowed:
            problems.append(
                f"{variable} names {external.place}, which is not this stack's:"
                f" {_CONSEQUENCES[program]}. Remove {variable} from the environment and from"
                f" `.env`, or set SORI_USE_{variable}=true to use it."
            )
    if problems:
        raise StackError("\n".join(problems))
    return tuple(found)


def place_of(url: str) -> str:
    """The host, port and path of a URL, without user, password and parameters."""
    _, _, place = url.partition("?")[0].partition("://")
    return place.rpartition("@")[2] or "another server"


def _is_own(url: str, own_port: int) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_own_database = not parts.scheme.startswith("postgres") or (
        (parts.username, parts.path) == ("sori", "/sori")
    )
    return parts.hostname in _LOOPBACK and port == own_port and is_own_database

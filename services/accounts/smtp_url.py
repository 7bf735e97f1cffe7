"""The setting SMTP_URL: the mail server, and the security of the connection. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class SmtpUrl:
    """A mail server.

    starttls: True demands STARTTLS; None uses it if the server offers it; False never uses it.
    tls: whether TLS begins with the first byte. user: empty for a server without login.
    """

    host: str
    port: int
    tls: bool = False
    starttls: bool | None = None
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `smtp://`, `smtp+starttls://` or `smtps://` with `user:password@host:port`.

        Special characters of user and password are percent-encoded. Errors: ValueError, without
        the password.
        """
        parts = urlsplit(text)
        if parts.scheme not in _PORTS:
            raise ValueError("must begin with smtp://, smtp+starttls:// or smtps://")
        if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("must be smtp://user:password@host:port, without a path")
        try:
            port = parts.port
        except ValueError:
            raise ValueError("must have a port from 1 to 65535") from None
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if user and parts.scheme == "smtp" and parts.hostname not in _LOOPBACK:
            raise ValueError("must be smtp+starttls:// or smtps:// to send a password")
        return cls(
            parts.hostname,
            port or _PORTS[parts.scheme],
            tls=parts.scheme == "smtps",
            starttls=_starttls(parts.scheme),
            user=user,
            password=password,
        )


def _starttls(scheme: str) -> bool | None:
    return {"smtp": None, "smtp+starttls": True, "smtps": False}[scheme]

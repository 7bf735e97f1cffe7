"""The secrets that a stack has issued to the tests' clients, and the logs that contain them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx

_ACCOUNTS = ("/auth/", "/accounts/")
_FIELDS = ("access_token", "refresh_token", "client_secret", "secret", "recovery_codes")
_LOGS = "*/logs/*.log*"
_MAIL_SINK = "mail-sink"
"""Its log shows the links of mails to developers; it is no part of an installation."""
# Shorter texts, such as codes, also occur by chance.
_WORD = re.compile(rb"[A-Za-z0-9_-]{20,}")


class IssuedSecrets:
    """Reads the secrets in responses."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def note(self, answer: httpx.Response) -> None:
        """Remember the secrets of a response; an event hook of httpx."""
        self.found.update(answer.headers.get_list("x-guest-token"))
        for header in answer.headers.get_list("set-cookie"):
            self.found.update(morsel.value for morsel in SimpleCookie(header).values())
        if answer.request.url.path.startswith(_ACCOUNTS) and answer.is_success:
            answer.read()
            self.found.update(_secrets_of(answer.text))


def _secrets_of(body: str) -> Iterator[str]:
    try:
        fields: Any = json.loads(body)
    except ValueError:
        return
    if isinstance(fields, dict):
        for name in _FIELDS:
            value = fields.get(name) or []
            yield from [value] if isinstance(value, str) else value


ISSUED = IssuedSecrets()
"""Those of all stacks of this process."""


def words(texts: Collection[str]) -> set[bytes]:
    """The parts of secrets that are long enough to be unique: of an access token, three."""
    return {word for text in texts for word in _WORD.findall(text.encode())}


def logs_with_secrets(folder: Path, secrets: Collection[str]) -> list[str]:
    """The log files of all stacks below a folder that contain a secret, and how it begins."""
    # Every access token begins with the same header.
    wanted = {word for word in words(secrets) if not word.startswith(b"eyJhbGciOi")}
    return [
        f"{path.name}: {word[:8].decode()}…"
        for path in sorted(folder.glob(f"**/{_LOGS}"))
        if not path.name.startswith(_MAIL_SINK)
        for word in set(_WORD.findall(path.read_bytes())) & wanted
    ]

"""The caller of an rpc: an account, a guest, a service, or nobody. No I/O."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass

CATALOG_EDITOR = "catalog_editor"
OPERATOR = "operator"

MAX_OWNER_ID_LENGTH = 255

GUEST_SECONDS = 30 * 24 * 3600
"""The default of how long a guest exists."""

_GUEST_PREFIX = "guest:"
_GUEST_TOKEN_BYTES = 32
# Both begin with the Unix time at which the guest expires.
_GUEST_TOKEN_FORM = re.compile(r"([0-9a-f]{8})[A-Za-z0-9_-]{43}")
_GUEST_ID_FORM = re.compile(r"guest:([0-9a-f]{8})[.].+")


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of an rpc.

    owner_id: the owner of what the caller creates: the id of an account, or that of a guest;
        empty for callers without either. roles: what the caller may do. is_account: whether it
        has an account. is_trusted: whether the caller reached the service without the gateway
        where there is no mutual TLS, or has the certificate of the service itself. services:
        with mutual TLS, the names in the certificate of a caller other than the gateway, those
        of the suite's services among them.
    """

    owner_id: str = ""
    roles: frozenset[str] = frozenset()
    is_account: bool = False
    is_trusted: bool = False
    services: frozenset[str] = frozenset()

    @property
    def is_operator(self) -> bool:
        """Whether the caller may see and change what belongs to others."""
        return self.is_trusted or OPERATOR in self.roles

    @property
    def is_anonymous(self) -> bool:
        """Whether the caller came through the gateway and has neither an account nor a secret."""
        return not (self.owner_id or self.is_trusted or self.services)

    def may_use(self, owner_id: str | None, *, guests: bool) -> bool:
        """Whether a resource exists for the caller.

        owner_id: of the resource; None for those from before accounts. guests: whether guests
        are admitted. Then the id of a resource without an account is a permission to use it,
        until its guest expires.
        """
        if self.is_operator or (owner_id and owner_id == self.owner_id):
            return True
        return guests and (not owner_id or (is_guest(owner_id) and not _is_past(owner_id)))


TRUSTED = Caller(is_trusted=True)
"""A caller without the gateway, and the service itself."""


def is_guest(owner_id: str) -> bool:
    """Whether an owner is a guest, not an account."""
    return owner_id.startswith(_GUEST_PREFIX)


def new_guest_token(seconds: float = GUEST_SECONDS) -> str:
    """A secret for a new guest: its expiry, and 32 random bytes in base64url.

    seconds: how long the guest exists.
    """
    return f"{int(time.time() + seconds):08x}{secrets.token_urlsafe(_GUEST_TOKEN_BYTES)}"


def guest_owner_id(token: str) -> str:
    """The owner id of the guest who has this secret. It states when the guest expires."""
    digest = urlsafe_b64encode(hashlib.sha256(token.encode()).digest()[:18]).decode()
    form = _GUEST_TOKEN_FORM.fullmatch(token)
    return f"{_GUEST_PREFIX}{form[1]}.{digest}" if form else _GUEST_PREFIX + digest


def guest_expiry(owner_id: str) -> int | None:
    """When a guest expires, as Unix time; None if the id states no expiry."""
    form = _GUEST_ID_FORM.fullmatch(owner_id)
    return int(form[1], 16) if form else None


def is_guest_token(text: str) -> bool:
    """Whether a text is the secret of a guest that has not expired."""
    form = _GUEST_TOKEN_FORM.fullmatch(text)
    return form is not None and int(form[1], 16) > time.time()


def _is_past(owner_id: str) -> bool:
    expiry = guest_expiry(owner_id)
    return expiry is not None and expiry <= time.time()

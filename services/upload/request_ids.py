"""Request ids: which requests are repeats of each other. Pure.

The ids of an account count for that account. Without an account, a random UUID cannot be
guessed, so a caller that knows one may repeat its request from any network, and also with the
guest's secret that the answer to its first request gave it. Clients choose other ids alike
("take-1"), so these count per token and guest, or per token and client address.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from uuid import RFC_4122, UUID

from services.runtime.callers import is_guest
from services.runtime.errors import FieldViolation

RANDOM_VERSIONS = (4, 7)
"""The versions of UUIDs that have at least 62 random bits."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True)
class RequestId:
    """The id of a request, and the client that sent it.

    text: as the client sent it; empty when it gave none.
    client: the key of limits per client.
    owner_id: the account or the guest that the request proved; empty if neither.
    """

    text: str
    client: str
    owner_id: str = ""

    def violations(self) -> list[FieldViolation]:
        """Why the id is not valid; empty when it is."""
        if not self.text or _REQUEST_ID.fullmatch(self.text):
            return []
        problem = "must be 1 to 128 letters, digits and '-_.:', ideally a random UUID"
        return [FieldViolation("request_id", problem)]

    def within(self, token_id: int) -> str:
        """The id under which the request is stored; empty when the client gave none."""
        if not self.text:
            return ""
        capability = _random_uuid(self.text)
        if capability is None:
            return stored_id("client", self.owner_id or self.client, str(token_id), self.text)
        if not self.owner_id or is_guest(self.owner_id):
            return str(capability)
        return stored_id("account", self.owner_id, str(capability))


def stored_id(*names: str) -> str:
    """An id that only these names, in this order, make; it never equals a UUID."""
    digest = hashlib.sha256("\n".join(names).encode())
    return f"sha256:{digest.hexdigest()}"


def _random_uuid(text: str) -> UUID | None:
    try:
        found = UUID(text)
    except ValueError:
        return None
    is_random = found.variant == RFC_4122 and found.version in RANDOM_VERSIONS
    return found if is_random else None

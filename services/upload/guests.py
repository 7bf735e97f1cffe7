"""Guests: a caller without an identity gets one with its first upload.

The answer has the guest's secret in its initial metadata, over HTTP in its headers: as a
cookie for browsers, and by itself for other clients. The secret states when the guest expires;
no service stores it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from services.runtime.access import caller_of
from services.runtime.callers import Caller, guest_expiry, guest_owner_id, new_guest_token
from services.runtime.client_address import client_key
from services.runtime.interceptors import Context, call_metadata
from services.runtime.shared_errors import CredentialsMissing
from services.upload.client_limits import client_of
from services.upload.request_ids import RequestId

COOKIE = "sori_guest"
TOKEN_HEADER = "x-guest-token"  # noqa: S105 (a name)

# Between the clocks of replicas.
_CLOCK_SKEW_SECONDS = 60

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Creator:
    """The caller that creates an upload.

    caller: with the new identity, if it got one. client: the key of limits per client.
    known_owner_id: the account or the guest that the request proved; empty if neither.
    headers: initial metadata of the answer: the secret of a new guest, or nothing.
    """

    caller: Caller
    client: str
    known_owner_id: str
    headers: Headers = ()

    @property
    def owner_id(self) -> str:
        """The owner of what the caller creates; empty for callers of the suite."""
        return self.caller.owner_id

    def request_id(self, text: str) -> RequestId:
        """The id of its request. text: as the client sent it; empty when it gave none.

        The repeat of a first request has no secret yet if its answer was lost, so the secret
        that the answer brings does not count.
        """
        return RequestId(text, self.client, self.known_owner_id)


def creator_of(context: Context, *, guests: timedelta | None) -> Creator:
    """The caller of an rpc that creates something.

    guests: how long a new guest exists; None if guests are not admitted.
    """
    caller = caller_of(context)
    client = client_of(caller, client_key(context))
    if guests is None or not _needs_identity(caller, guests):
        return Creator(caller, client, caller.owner_id)
    seconds = int(guests.total_seconds())
    token = new_guest_token(seconds)
    guest = replace(caller, owner_id=guest_owner_id(token))
    is_secure = call_metadata(context).get("x-forwarded-proto") == "https"
    return Creator(guest, client, "", _headers(token, seconds, is_secure=is_secure))


def _needs_identity(caller: Caller, guests: timedelta) -> bool:
    """Whether a caller becomes a new guest.

    Clients can make up secrets, so one that expires later than a new one is not accepted.
    """
    expiry = guest_expiry(caller.owner_id)
    latest = time.time() + guests.total_seconds() + _CLOCK_SKEW_SECONDS
    return caller.is_anonymous or (expiry is not None and expiry > latest)


def account_of(creator: Creator) -> UUID:
    """The caller's account at the accounts service.

    Errors: CredentialsMissing for guests, services, and accounts of other issuers.
    """
    if not creator.caller.is_account:
        raise CredentialsMissing
    try:
        return UUID(creator.owner_id)
    except ValueError:
        raise CredentialsMissing from None


def _headers(token: str, seconds: int, *, is_secure: bool) -> Headers:
    cookie = f"{COOKIE}={token}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax"
    return (
        ("set-cookie", f"{cookie}; Secure" if is_secure else cookie),
        (TOKEN_HEADER, token),
    )

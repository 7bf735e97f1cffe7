"""The encrypted cookies that a browser carries through a provider login.

`LoginState` has the state, the nonce and the PKCE verifier from the beginning of a login to its
callback. The callback is accepted only from the browser that has the cookie, so an attacker
cannot log another person in to the attacker's account (login CSRF). `PendingLogin` is a login
that waits for the code of the second factor.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass
from typing import Self

from services.accounts.sealing import SealBroken, Sealer

STATE_SECONDS = 600
SECOND_FACTOR_SECONDS = 300
MAX_COOKIE_LENGTH = 8192
_DIGEST_LENGTH = 12


@dataclass(frozen=True)
class LoginState:
    """A login that has begun.

    provider: its name. state, nonce, verifier: random texts for the provider (RFC 6749, OpenID
    Connect, RFC 7636). return_to: the page to return to; it was checked. expire_time: Unix
    time in seconds.
    """

    provider: str
    state: str
    nonce: str
    verifier: str
    return_to: str
    expire_time: int

    @classmethod
    def begin(cls, provider: str, return_to: str, now: float) -> Self:
        """A new state with fresh random texts."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(provider, state, nonce, verifier, return_to, int(now) + STATE_SECONDS)

    @property
    def challenge(self) -> str:
        """The PKCE challenge of the verifier (S256)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")

    def accepts(self, provider: str, state: str, now: float) -> bool:
        """Whether a callback of the provider belongs to this login, and is in time."""
        return (
            self.provider == provider
            and hmac.compare_digest(self.state.encode(), state.encode())
            and now < self.expire_time
        )


@dataclass(frozen=True)
class PendingLogin:
    """A login at a provider that waits for the second factor. expire_time: as in LoginState."""

    account_id: str
    expire_time: int

    @classmethod
    def begin(cls, account_id: str, now: float) -> Self:
        """A login that waits for SECOND_FACTOR_SECONDS."""
        return cls(account_id, int(now) + SECOND_FACTOR_SECONDS)


class LoginCookies:
    """Writes and reads the cookies."""

    def __init__(self, sealer: Sealer, *, secure: bool) -> None:
        """secure: whether browsers reach the product by HTTPS.

        Then the prefix `__Host-` keeps other hosts of the domain from setting the cookies.
        """
        self._sealer = sealer
        self._secure = secure

    @property
    def pending_name(self) -> str:
        """The name of the cookie of a PendingLogin."""
        return self._name("pending_login")

    def state_name(self, state: str) -> str:
        """The name of the cookie of a LoginState: one for each, so that two tabs can log in."""
        return self._name(f"login_{hashlib.sha256(state.encode()).hexdigest()[:_DIGEST_LENGTH]}")

    def of_state(self, state: LoginState) -> str:
        """The `Set-Cookie` header that stores a LoginState."""
        return self._header(self.state_name(state.state), self._sealed(state), STATE_SECONDS)

    def of_pending(self, pending: PendingLogin) -> str:
        """The `Set-Cookie` header that stores a PendingLogin."""
        return self._header(self.pending_name, self._sealed(pending), SECOND_FACTOR_SECONDS)

    def removal(self, name: str) -> str:
        """The `Set-Cookie` header that removes a cookie."""
        return self._header(name, "", 0)

    def state_in(self, value: str) -> LoginState | None:
        """The LoginState in the value of a cookie; None if this service did not write it."""
        content = self._opened(value, LoginState)
        return None if content is None else LoginState(**json.loads(content))

    def pending_in(self, value: str) -> PendingLogin | None:
        """The PendingLogin in the value of a cookie; None if this service did not write it."""
        content = self._opened(value, PendingLogin)
        return None if content is None else PendingLogin(**json.loads(content))

    def _name(self, name: str) -> str:
        return f"__Host-sori_{name}" if self._secure else f"sori_{name}"

    def _header(self, name: str, value: str, seconds: int) -> str:
        # Lax: the provider sends the browser back from another site.
        header = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax"
        return f"{header}; Secure" if self._secure else header

    def _sealed(self, content: LoginState | PendingLogin) -> str:
        purpose = f"cookie:{type(content).__name__}"
        sealed = self._sealer.seal(json.dumps(asdict(content)).encode(), purpose)
        return urlsafe_b64encode(sealed).decode().rstrip("=")

    def _opened(self, value: str, kind: type[LoginState | PendingLogin]) -> bytes | None:
        if not value or len(value) > MAX_COOKIE_LENGTH:
            return None
        try:
            sealed = urlsafe_b64decode(value + "=" * (-len(value) % 4))
            return self._sealer.open(sealed, f"cookie:{kind.__name__}")
        except (ValueError, SealBroken):
            return None

"""The signing keys of a process: read from PostgreSQL, rotated, published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from joserfc.jwk import ECKey

from services.accounts.access_tokens import TokenSigner, new_key, public_jwk
from services.accounts.errors import KeysUnavailable
from services.accounts.key_schedule import (
    KeyTimes,
    next_activation,
    overdue,
    published_kids,
    signing_kid,
)
from services.accounts.sealing import SealBroken, Sealer
from services.accounts.settings import AccountsSettings
from services.accounts.store import KeyStore, StoredKey

_logger = structlog.get_logger(__name__)

INTERVAL_SECONDS = 30.0
"""How often a process reads the keys. A new key is published for 10 minutes before its use."""


class KeyRing:
    """Signs and publishes with the keys that all replicas share."""

    def __init__(self, settings: AccountsSettings, store: KeyStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._issuer = settings.issuer
        self._token_seconds = settings.access_token_seconds
        self._key_lifetime = timedelta(seconds=settings.signing_key_seconds)
        self._keys: Sequence[StoredKey] = ()
        self._opened: dict[str, ECKey] = {}
        self._logged_kid = ""

    async def refresh(self) -> None:
        """Read the keys, create the next one when it is due, and delete those that have ended.

        Errors: DatabaseUnavailable.
        """
        await self._rotate(self._key_lifetime)

    async def rotate_now(self, *, revoke: bool) -> None:
        """Create the next key without waiting until it is due.

        revoke: whether the present keys are deleted, because somebody else may know them. Then
        the new key signs immediately, and verifiers refuse the tokens of the deleted keys as soon
        as they read the keys again.
        """
        if revoke:
            await self._store.delete_all()
        await self._rotate(timedelta(0))

    def signer(self) -> TokenSigner:
        """What signs access tokens now. Errors: KeysUnavailable."""
        if not self._keys:
            raise KeysUnavailable
        # PostgreSQL's clock, which the first key began by, may be ahead of this one.
        now = max(datetime.now(UTC), min(key.activate_time for key in self._keys))
        kid = signing_kid(_times(self._keys), now)
        key = None if kid is None else self._private_key(kid)
        if key is None:
            raise KeysUnavailable
        return TokenSigner(key, self._issuer, self._token_seconds)

    def public_keys(self) -> str:
        """The keys that verifiers need, as a JWK Set. Errors: KeysUnavailable."""
        published = self._published(self._keys, datetime.now(UTC))
        if not published:
            raise KeysUnavailable
        keys = [key.public for key in self._keys if key.kid in published]
        # The same bytes from every replica.
        return json.dumps({"keys": keys}, sort_keys=True)

    async def probe(self) -> None:
        """A health probe: return if this process can sign. Errors: KeysUnavailable."""
        self.signer()

    def overdue_seconds(self) -> float:
        """How long this process has signed with a key beyond its lifetime; 0 if it has not."""
        late = overdue(_times(self._keys), datetime.now(UTC), self._key_lifetime)
        return max(late.total_seconds(), 0.0)

    async def _rotate(self, key_lifetime: timedelta) -> None:
        def due(keys: Sequence[StoredKey], now: datetime) -> StoredKey | None:
            activate_time = next_activation(_times(keys), now, key_lifetime)
            return None if activate_time is None else self._new_key(activate_time)

        self._keys = await self._store.rotate(due, self._published)
        kids = {key.kid for key in self._keys}
        self._opened = {kid: key for kid, key in self._opened.items() if kid in kids}

    def _private_key(self, kid: str) -> ECKey | None:
        if kid not in self._opened:
            stored = next(key for key in self._keys if key.kid == kid)
            try:
                content = self._sealer.open(stored.sealed, purpose_of(kid))
            except SealBroken:
                self._log_broken(kid)
                return None
            self._opened[kid] = ECKey.import_key(json.loads(content))
        return self._opened[kid]

    def _log_broken(self, kid: str) -> None:
        """Log a key that can't be decrypted once, not at every call and probe."""
        if kid != self._logged_kid:
            self._logged_kid = kid
            _logger.error(
                "a signing key can't be decrypted",
                kid=kid,
                advice="Set ACCOUNTS_SECRET_PREVIOUS to the secret that encrypted it.",
            )

    def _new_key(self, activate_time: datetime) -> StoredKey:
        key = new_key()
        kid = str(key.kid)
        content = json.dumps(key.as_dict(private=True)).encode()
        _logger.info("new signing key", kid=kid, activate_time=activate_time.isoformat())
        return StoredKey(
            kid, self._sealer.seal(content, purpose_of(kid)), public_jwk(key), activate_time
        )

    def _published(self, keys: Sequence[StoredKey], now: datetime) -> frozenset[str]:
        return published_kids(_times(keys), now, timedelta(seconds=self._token_seconds))


def purpose_of(kid: str) -> str:
    """The purpose for which a private key is sealed."""
    return f"signing key:{kid}"


def _times(keys: Sequence[StoredKey]) -> list[KeyTimes]:
    return [KeyTimes(key.kid, key.activate_time) for key in keys]

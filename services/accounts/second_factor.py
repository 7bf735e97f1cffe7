"""The second factor: codes of an authenticator app, and recovery codes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from services.accounts import totp
from services.accounts.errors import (
    AccountNotFound,
    SecondFactorExists,
    SecondFactorRequired,
    TooManyAttempts,
    TotpCodeInvalid,
)
from services.accounts.models import AuditEntry
from services.accounts.sealing import Sealer
from services.accounts.store.second_factors import SecondFactors, StoredFactor
from services.runtime.database import Database

PRODUCT = "Sori"
"""The product's name in authenticator apps."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Enrollment:
    """A secret that waits for its confirmation. text: in base32. uri: for a QR code."""

    text: str = field(repr=False)
    uri: str = field(repr=False)


class SecondFactor:
    """Sets up and checks codes."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock = time.time) -> None:
        """clock: Unix time in seconds."""
        self._store = SecondFactors(database)
        self._sealer = sealer
        self._clock = clock

    async def is_required(self, account_id: UUID) -> bool:
        """Whether a login to the account needs a code. Errors: AccountNotFound."""
        return (await self._stored(account_id)).secret is not None

    async def check(self, account_id: UUID, code: str, address: str) -> None:
        """Return if the account has no second factor, or if the code is valid; uses it up.

        Errors: SecondFactorRequired, TooManyAttempts.
        """
        secret = (await self._stored(account_id)).secret
        if secret is None:
            return
        if not code or not await self._accepts(account_id, secret, code, address):
            raise SecondFactorRequired

    async def enroll(self, account_id: UUID) -> Enrollment:
        """Begin the set-up. A new enrollment replaces one that was not confirmed.

        Errors: AccountNotFound, SecondFactorExists.
        """
        stored = await self._stored(account_id)
        secret = totp.new_secret()
        sealed = self._sealer.seal(secret, _purpose(account_id))
        if not await self._store.enroll(account_id, sealed):
            raise SecondFactorExists
        name = stored.email or str(account_id)
        uri = totp.enrollment_uri(secret, account=name, issuer=PRODUCT)
        return Enrollment(totp.secret_text(secret), uri)

    async def confirm(self, account_id: UUID, code: str, address: str) -> list[str]:
        """End the set-up with a code of the app; returns the recovery codes.

        Errors: AccountNotFound, TotpCodeInvalid.
        """
        pending = (await self._stored(account_id)).pending
        if pending is None:
            raise TotpCodeInvalid
        step = self._step(account_id, pending, code)
        if step is None:
            raise TotpCodeInvalid
        codes = totp.new_recovery_codes()
        hashes = map(totp.recovery_code_hash, codes)
        entry = _entry(account_id, "confirm_second_factor", address)
        if not await self._store.confirm(account_id, pending, step, hashes, entry):
            raise TotpCodeInvalid
        return codes

    async def remove(self, account_id: UUID, code: str, address: str) -> None:
        """Remove the second factor. code: of the app, or a recovery code.

        Errors: AccountNotFound, TotpCodeInvalid, TooManyAttempts.
        """
        secret = (await self._stored(account_id)).secret
        if secret is None or not await self._accepts(account_id, secret, code, address):
            raise TotpCodeInvalid
        await self._store.remove(account_id, _entry(account_id, "remove_second_factor", address))

    async def _accepts(self, account_id: UUID, secret: bytes, code: str, address: str) -> bool:
        """Whether a code of the app or a recovery code is valid; uses it up.

        Errors: TooManyAttempts.
        """
        if seconds := await self._store.admit(account_id):
            raise TooManyAttempts(seconds)
        if totp.is_app_code(code):
            step = self._step(account_id, secret, code)
            if step is None:
                return False
            current = self._sealed_anew(account_id, secret)
            return await self._store.use_step(account_id, secret, step, current)
        if len(code) > totp.MAX_CODE_LENGTH:
            return False
        entry = _entry(account_id, "use_recovery_code", address)
        return await self._store.use_recovery_code(account_id, totp.recovery_code_hash(code), entry)

    def _step(self, account_id: UUID, sealed: bytes, code: str) -> int | None:
        secret = self._sealer.open(sealed, _purpose(account_id))
        return totp.matching_step(secret, code, self._clock())

    def _sealed_anew(self, account_id: UUID, sealed: bytes) -> bytes:
        """The secret, encrypted with the present ACCOUNTS_SECRET."""
        purpose = _purpose(account_id)
        if self._sealer.is_current(sealed, purpose):
            return sealed
        return self._sealer.seal(self._sealer.open(sealed, purpose), purpose)

    async def _stored(self, account_id: UUID) -> StoredFactor:
        stored = await self._store.get(account_id)
        if stored is None:
            raise AccountNotFound(account_id=account_id)
        return stored


def _purpose(account_id: UUID) -> str:
    return f"totp:{account_id}"


def _entry(account_id: UUID, action: str, address: str) -> AuditEntry:
    return AuditEntry(str(account_id), str(account_id), action, address=address)

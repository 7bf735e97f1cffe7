"""The second factor: codes of an authenticator app, recovery codes, and passkeys."""

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
from services.accounts.passkey_checks import Credential
from services.accounts.passkeys import Passkeys
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


@dataclass(frozen=True)
class Proof:
    """What a caller gives for a second factor; both are empty without one.

    code: of the app, or a recovery code. passkey: the answer of a passkey; it counts if there are
    both.
    """

    code: str = field(default="", repr=False)
    passkey: Credential | None = field(default=None, repr=False)


class SecondFactor:
    """Sets up authenticator apps, and checks second factors."""

    def __init__(
        self, database: Database, sealer: Sealer, passkeys: Passkeys, clock: Clock = time.time
    ) -> None:
        """clock: Unix time in seconds."""
        self._store = SecondFactors(database)
        self._passkeys = passkeys
        self._sealer = sealer
        self._clock = clock

    async def is_required(self, account_id: UUID) -> bool:
        """Whether a login to the account needs a second factor. Errors: AccountNotFound."""
        return bool((await self._stored(account_id)).factors)

    async def check(self, account_id: UUID, proof: Proof, address: str) -> None:
        """Return if the account has no second factor, or if the proof is valid; uses it up.

        Errors: AccountNotFound, SecondFactorRequired, PasskeyInvalid, TooManyAttempts.
        """
        stored = await self._stored(account_id)
        if not stored.factors:
            return
        if proof.passkey is not None:
            await self._passkeys.confirm(account_id, proof.passkey, address)
            return
        code = proof.code
        if not code or not await self._accepts(account_id, stored.secret, code, address):
            raise SecondFactorRequired(factors=" ".join(stored.factors))

    async def enroll(self, account_id: UUID) -> Enrollment:
        """Begin the set-up. A new enrollment replaces one that was not confirmed.

        Errors: AccountNotFound, SecondFactorExists.
        """
        stored = await self._stored(account_id)
        secret = totp.new_secret()
        sealed = self._sealer.seal(secret, totp_purpose(account_id))
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
        """Remove the authenticator app. code: of the app, or a recovery code.

        Errors: AccountNotFound, TotpCodeInvalid, TooManyAttempts.
        """
        secret = (await self._stored(account_id)).secret
        if secret is None or not await self._accepts(account_id, secret, code, address):
            raise TotpCodeInvalid
        await self._store.remove(account_id, _entry(account_id, "remove_second_factor", address))

    async def _accepts(
        self, account_id: UUID, secret: bytes | None, code: str, address: str
    ) -> bool:
        """Whether a code of the app or a recovery code is valid; uses it up.

        secret: of the app, sealed; None without an app. Errors: TooManyAttempts.
        """
        if seconds := await self._store.admit(account_id):
            raise TooManyAttempts(seconds)
        if totp.is_app_code(code):
            step = None if secret is None else self._step(account_id, secret, code)
            if secret is None or step is None:
                return False
            current = self._sealer.renewed(secret, totp_purpose(account_id))
            return await self._store.use_step(account_id, secret, step, current)
        if len(code) > totp.MAX_CODE_LENGTH:
            return False
        entry = _entry(account_id, "use_recovery_code", address)
        return await self._store.use_recovery_code(account_id, totp.recovery_code_hash(code), entry)

    def _step(self, account_id: UUID, sealed: bytes, code: str) -> int | None:
        secret = self._sealer.open(sealed, totp_purpose(account_id))
        return totp.matching_step(secret, code, self._clock())

    async def _stored(self, account_id: UUID) -> StoredFactor:
        stored = await self._store.get(account_id)
        if stored is None:
            raise AccountNotFound(account_id=account_id)
        return stored


def totp_purpose(account_id: UUID) -> str:
    """The purpose for which the secret of an authenticator app is sealed."""
    return f"totp:{account_id}"


def _entry(account_id: UUID, action: str, address: str) -> AuditEntry:
    return AuditEntry(str(account_id), str(account_id), action, address=address)

"""Encrypting everything with the present ACCOUNTS_SECRET, so that the former one can go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.accounts.key_ring import purpose_of
from services.accounts.sealing import SealBroken, Sealer
from services.accounts.second_factor import totp_purpose
from services.accounts.store import Sealed, SealedStore

BATCH_SIZE = 500
"""The number of accounts that one transaction changes."""


@dataclass(frozen=True)
class Counts:
    """What came of some values.

    renewed: encrypted with the present secret by this run. changed: not, because somebody
    changed them meanwhile. broken: neither secret decrypts them.
    """

    renewed: int = 0
    changed: int = 0
    broken: int = 0

    @property
    def remaining(self) -> int:
        """How many values may still need another secret than the present one."""
        return self.changed + self.broken

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.renewed + other.renewed,
            self.changed + other.changed,
            self.broken + other.broken,
        )


class Resealer:
    """Encrypts second factors and signing keys again. It can be stopped and repeated."""

    def __init__(self, store: SealedStore, sealer: Sealer, batch_size: int = BATCH_SIZE) -> None:
        self._store = store
        self._sealer = sealer
        self._batch_size = batch_size

    async def keys(self) -> Counts:
        """Encrypt the signing keys again."""
        return await self._reseal(await self._store.keys(), lambda key: purpose_of(str(key.row)))

    async def factors(self) -> Counts:
        """Encrypt the secrets of all authenticator apps again, batch by batch."""
        counts, after = Counts(), None
        while batch := await self._store.factors(self._batch_size, after):
            counts += await self._reseal(batch, _purpose_of_factor)
            after = UUID(str(batch[-1].row))
        return counts

    async def _reseal(self, batch: Sequence[Sealed], purpose: Callable[[Sealed], str]) -> Counts:
        renewed, broken = [], 0
        for sealed in batch:
            try:
                content = self._sealer.renewed(sealed.content, purpose(sealed))
            except SealBroken:
                broken += 1
                continue
            if content != sealed.content:
                renewed.append((sealed, content))
        replaced = await self._store.replace(renewed)
        return Counts(replaced, len(renewed) - replaced, broken)


def _purpose_of_factor(sealed: Sealed) -> str:
    return totp_purpose(UUID(str(sealed.row)))

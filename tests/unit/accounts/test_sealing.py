"""Sealed secrets can be opened only with the secret and for the purpose they were sealed for."""

from __future__ import annotations

import pytest

from services.accounts.sealing import (
    SealBroken,
    Sealer,
    new_token,
    open_with_token,
    seal_with_token,
)

OLD, NEW = "a secret of at least 32 characters", "another secret of 32 characters or more"


def test_a_sealed_secret_can_be_opened() -> None:
    sealer = Sealer(NEW)
    assert sealer.open(sealer.seal(b"key", "totp:1"), "totp:1") == b"key"


def test_a_secret_is_not_opened_for_another_row() -> None:
    sealer = Sealer(NEW)
    with pytest.raises(SealBroken):
        sealer.open(sealer.seal(b"key", "totp:1"), "totp:2")


def test_a_changed_secret_is_refused() -> None:
    sealer = Sealer(NEW)
    sealed = bytearray(sealer.seal(b"key", "totp:1"))
    sealed[-1] ^= 1
    with pytest.raises(SealBroken):
        sealer.open(bytes(sealed), "totp:1")


@pytest.mark.parametrize("sealed", [b"", b"short", b"x" * 12])
def test_bytes_that_are_no_seal_are_refused(sealed: bytes) -> None:
    with pytest.raises(SealBroken):
        Sealer(NEW).open(sealed, "totp:1")


def test_the_previous_secret_opens_while_it_is_being_replaced() -> None:
    sealed = Sealer(OLD).seal(b"key", "totp:1")
    assert Sealer(NEW, OLD).open(sealed, "totp:1") == b"key"
    with pytest.raises(SealBroken):
        Sealer(NEW).open(sealed, "totp:1")


def test_only_the_holder_of_the_token_reads_its_successor() -> None:
    token, successor = new_token(), new_token()
    sealed = seal_with_token(token, successor)
    assert open_with_token(token, sealed) == successor
    with pytest.raises(SealBroken):
        open_with_token(new_token(), sealed)

"""Secrets: random tokens, their hashes, and encryption of what the service needs again."""

from __future__ import annotations

import hashlib
import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_TOKEN_BYTES = 32
_NONCE_BYTES = 12


def new_token() -> str:
    """A random token of 256 bits, in URL-safe base64."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    """What the database stores of a random token.

    A fast hash is enough, because 256 random bits cannot be guessed. Passwords need argon2id.
    """
    return hashlib.sha256(token.encode()).digest()


class SealBroken(Exception):
    """The bytes were sealed with another secret or for another purpose, or were changed."""


class Sealer:
    """Encrypts and authenticates (AES-256-GCM) what only this service may read."""

    def __init__(self, secret: str, previous_secret: str = "") -> None:
        """previous_secret: opens what was sealed before the secret was replaced; default: none."""
        self._key = _derived(secret.encode())
        self._keys = [self._key, *([_derived(previous_secret.encode())] if previous_secret else [])]

    def seal(self, content: bytes, purpose: str) -> bytes:
        """Encrypt. purpose: names the use and the row, such as "totp:<account id>"."""
        return _encrypted(self._key, content, purpose)

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Decrypt what `seal` returned for the same purpose. Errors: SealBroken."""
        for key in self._keys:
            try:
                return _decrypted(key, sealed, purpose)
            except SealBroken:
                continue
        raise SealBroken

    def renewed(self, sealed: bytes, purpose: str) -> bytes:
        """The same content, sealed with the present secret. Errors: SealBroken."""
        if self.is_current(sealed, purpose):
            return sealed
        return self.seal(self.open(sealed, purpose), purpose)

    def is_current(self, sealed: bytes, purpose: str) -> bool:
        """Whether the present secret, not the previous one, sealed this."""
        try:
            _decrypted(self._key, sealed, purpose)
        except SealBroken:
            return False
        return True


def seal_with_token(token: str, content: str) -> bytes:
    """Encrypt for the holder of a random token, of which the database has only the hash."""
    return _encrypted(_derived(token.encode()), content.encode(), "token")


def open_with_token(token: str, sealed: bytes) -> str:
    """Decrypt what `seal_with_token` returned for the same token. Errors: SealBroken."""
    return _decrypted(_derived(token.encode()), sealed, "token").decode()


def _derived(secret: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"sori accounts seal").derive(secret)


def _encrypted(key: bytes, content: bytes, purpose: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, purpose.encode())


def _decrypted(key: bytes, sealed: bytes, purpose: str) -> bytes:
    nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return AESGCM(key).decrypt(nonce, content, purpose.encode())
    except (InvalidTag, ValueError) as error:
        raise SealBroken from error

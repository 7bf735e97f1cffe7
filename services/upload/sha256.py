"""SHA-256 that can be put away in the middle and gone on with elsewhere.

hashlib keeps its state to itself, so this calls OpenSSL's libcrypto, which hashlib
calls, too, at the same speed. Its `SHA256_CTX` is plain data: the state is those
bytes. They are native, so all replicas must have the same byte order.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import Any, Self

STATE_BYTES = 112
"""Size of SHA256_CTX: eight words of state, two of length, a block of sixteen, two counters."""

DIGEST_BYTES = 32


class Sha256:
    """A SHA-256 under way."""

    def __init__(self, state: bytes | None = None) -> None:
        """Begin anew, or go on from what `state` gave."""
        self._context = ctypes.create_string_buffer(STATE_BYTES)
        if state is None:
            _libcrypto().SHA256_Init(self._context)
        elif len(state) == STATE_BYTES:
            self._context.raw = state
        else:
            raise ValueError(f"a state has {STATE_BYTES} bytes")

    def update(self, content: bytes) -> None:
        """Take the next bytes."""
        _libcrypto().SHA256_Update(self._context, content, len(content))

    def copy(self) -> Self:
        """The same, to go on apart."""
        return type(self)(self.state)

    @property
    def state(self) -> bytes:
        """What is needed to go on: STATE_BYTES long."""
        return self._context.raw

    def digest(self) -> bytes:
        """The SHA-256 of all bytes so far: DIGEST_BYTES long."""
        digest = ctypes.create_string_buffer(DIGEST_BYTES)
        _libcrypto().SHA256_Final(digest, self.copy()._context)
        return digest.raw


@cache
def _libcrypto() -> Any:
    name = ctypes.util.find_library("crypto")
    if name is None:
        raise RuntimeError("OpenSSL's libcrypto is missing: install libssl3 or openssl-libs.")
    library = ctypes.CDLL(name)
    library.SHA256_Init.argtypes = (ctypes.c_void_p,)
    library.SHA256_Update.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
    library.SHA256_Final.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    return library

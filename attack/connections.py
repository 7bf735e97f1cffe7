"""Connections that cost the gateway memory or places: slow bodies, idle ones, watchers."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress

from attack.model import Outcome
from attack.target import Target, take

_SLOW_SOCKETS = 40
_DECLARED_BYTES = 7 * 1024**2
_SENT_BYTES = 900 * 1024
_DRIP_SECONDS = 18.0
_IDLE_SOCKETS = 1200
_IDLE_SECONDS = 4.0
_WATCHERS = 400
_WATCH_SECONDS = 4.0


def slow_bodies(target: Target) -> Outcome:
    """Large JSON bodies whose last bytes come one by one."""
    head = (
        b"POST /tokens/webhook/analysis-complete?job_id=x&signature=x HTTP/1.1\r\n"
        b"Host: sori\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {_DECLARED_BYTES}\r\n\r\n".encode()
    )
    with ExitStack() as exits:
        sockets = [exits.enter_context(target.connect()) for _ in range(_SLOW_SOCKETS)]
        for each in sockets:
            _send(each, head + b" " * _SENT_BYTES)
        ended = _drip(sockets, _DRIP_SECONDS)
    seen = f"{ended} of {_SLOW_SOCKETS} were ended within {_DRIP_SECONDS:g} s"
    return Outcome(seen, ended == _SLOW_SOCKETS)


def idle_connections(target: Target) -> Outcome:
    """Connections of one address that send nothing."""
    opened = 0
    with ExitStack() as exits:
        for _ in range(_IDLE_SOCKETS):
            with suppress(OSError):
                exits.enter_context(target.connect())
                opened += 1
        time.sleep(_IDLE_SECONDS)
        with target.http("127.0.0.3") as client:
            status = client.get("/tokens/1").status_code
    return Outcome(f"{opened} accepted; a newcomer gets {status}", status == 200)


def many_watchers(target: Target) -> Outcome:
    """Watchers of one address on a job that does not end."""
    target.analysis_server.answer = (202, b'{"status": "accepted"}')
    job_id = target.upload(take(9), source="127.0.0.4").json()["job_id"]
    request = (
        f"GET /tokens/analysis-progress/{job_id} HTTP/1.1\r\nHost: sori\r\n"
        "Accept: text/event-stream\r\n\r\n"
    ).encode()
    with ExitStack() as exits:
        sockets = []
        for _ in range(_WATCHERS):
            with suppress(OSError):
                each = exits.enter_context(target.connect())
                _send(each, request)
                sockets.append(each)
        statuses = _first_statuses(sockets, _WATCH_SECONDS)
    served, refused = statuses.count(200), sum(status in (429, 503) for status in statuses)
    other = len(statuses) - served - refused
    return Outcome(
        f"{served} served, {refused} refused, {other} others", bool(served) and not other
    )


def _drip(sockets: list[socket.socket], seconds: float) -> int:
    """Send single bytes until the server has ended all connections; how many it ended."""
    alive = set(sockets)
    deadline = time.monotonic() + seconds
    while alive and time.monotonic() < deadline:
        time.sleep(0.5)
        for each in list(alive):
            if _is_ended(each) or not _send(each, b" "):
                alive.discard(each)
    return len(sockets) - len(alive)


def _send(each: socket.socket, content: bytes) -> bool:
    """Whether the server still accepts bytes; a full buffer counts as accepting."""
    each.settimeout(0.5)
    try:
        each.sendall(content)
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def _is_ended(each: socket.socket) -> bool:
    """Whether the server has answered or closed."""
    each.setblocking(False)
    try:
        each.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _first_statuses(sockets: Iterable[socket.socket], seconds: float) -> list[int]:
    """The statuses of the answers; 0 for none in time, or a closed connection."""
    statuses = dict.fromkeys(sockets, 0)
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for each in statuses:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(0.2):
                answered = key.fileobj
                if isinstance(answered, socket.socket):
                    selector.unregister(answered)
                    statuses[answered] = _status_of(answered)
    return list(statuses.values())


def _status_of(each: socket.socket) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(each.recv(4096).split()[1])
    return 0

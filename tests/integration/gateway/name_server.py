"""A DNS server whose names have the addresses that a test sets."""

from __future__ import annotations

import socket
import struct
import threading
from ipaddress import IPv4Address

_A, _IN = 1, 1
_TTL_SECONDS = 1


class NameServer:
    """Answers every question of type A with `addresses`, and other questions with none."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        # An empty message ends the thread.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closing:
            closing.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            if not query:
                return
            self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        # The question: a name that ends with an empty label, then type and class.
        end = query.index(b"\0", 12) + 5
        question = query[12:end]
        (kind,) = struct.unpack("!H", question[-4:-2])
        addresses = self.addresses if kind == _A else []
        header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(addresses), 0, 0)
        records = (
            struct.pack("!HHHIH", 0xC00C, _A, _IN, _TTL_SECONDS, 4) + IPv4Address(each).packed
            for each in addresses
        )
        return header + question + b"".join(records)

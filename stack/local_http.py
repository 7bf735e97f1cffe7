"""HTTP servers in a thread of this process, for analysis servers that a program controls."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route


class HttpService(Protocol):
    """What a server serves."""

    def routes(self) -> list[Route]:
        """The routes of the service."""


Service = TypeVar("Service", bound=HttpService)


@contextmanager
def serving(create: Callable[[str], Service], host: str = "127.0.0.1") -> Iterator[Service]:
    """Serve what `create` returns on a free port until the context ends.

    create: gets the origin of the server, such as http://127.0.0.1:8080.
    host: an address of this machine.
    """
    with socket.socket() as listener:
        listener.bind((host, 0))
        service = create(f"http://{host}:{listener.getsockname()[1]}")
        app = Starlette(routes=service.routes())
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield service
        finally:
            server.should_exit = True
            thread.join()

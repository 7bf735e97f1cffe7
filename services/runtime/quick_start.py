"""Import this first in a program that serves calls: it starts a third sooner, in less memory.

Imports create many objects and hardly any garbage, so the collector would visit all of them
again and again. It is on again when the server listens (`garbage.spare_present_objects`).

Libraries also import what no service uses, and it would stay in memory. Two kinds of it are
left out: packages that a library uses only if they are installed, and modules of a library that
its package imports for others.
"""

from __future__ import annotations

import gc
import sys
from types import ModuleType

_OPTIONAL_PACKAGES = (
    "rich",  # structlog: colours in a terminal
    *("httpx", "httpx2"),  # aiobotocore: another HTTP client
)
_UNUSED_MODULES = (
    # They import SQLAlchemy's ORM, a fifth of the library.
    "sqlalchemy.ext.asyncio.session",
    "sqlalchemy.ext.asyncio.scoping",
)


class _UnusedModule(ModuleType):
    """Stands for a module whose contents are imported by name, but never used."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


gc.disable()
# Python's way to say that there is no such package.
sys.modules.update(dict.fromkeys(_OPTIONAL_PACKAGES))  # type: ignore[arg-type]
sys.modules.update({name: _UnusedModule(name) for name in _UNUSED_MODULES})

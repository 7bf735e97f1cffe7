"""Logs: one JSON object per line on stdout, with request id and job id where known.

Lines of this product go to stdout directly, because the logging of the standard library would
cost three times as much; lines of libraries come through it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, BinaryIO

import structlog

from services.runtime.processes import process_number
from services.version import product_version

_encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def configure_logs(service: str, level: str) -> None:
    """Send the logs of this process and of its libraries to stdout as JSON.

    The first line names the service and the version of the product.

    service: is added to every line; of several processes, the number of the process, too.
    level: the lowest level that is logged, such as "INFO".
    """
    origin: dict[str, object] = {"service": service}
    if number := process_number():
        origin["process"] = number

    def add_origin(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(origin)
        return event

    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_origin,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    stdout = sys.stdout.buffer
    structlog.configure(
        processors=[*processors, _as_json],
        logger_factory=lambda name="": _Lines(stdout, name),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=processors,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _as_json],
    )
    logging.basicConfig(level=level, handlers=[_LibraryHandler(stdout, formatter)], force=True)
    # httpx logs full URLs at INFO, and ours carry signatures.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Any client can send such metadata; gRPC reads it as Latin-1, and servicers validate it.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_foreign_encoding)
    structlog.get_logger(__name__).info("starting", version=product_version())


class _Lines:
    """Writes lines to a stream; structlog calls the method that is named after the level."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self._stream = stream

    def write(self, line: str) -> None:
        """Write one line at once. A line that can't be written is lost, but fails no call."""
        try:
            # Half a surrogate pair, which UTF-8 can't express, becomes JSON's escape for it.
            self._stream.write(f"{line}\n".encode(errors="backslashreplace"))
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = write


class _LibraryHandler(logging.Handler):
    """Writes the lines of libraries, which use the logging of the standard library."""

    def __init__(self, stream: BinaryIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self._lines = _Lines(stream, "")
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.write(self.format(record))


def _as_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return _encode(event)


def _is_no_foreign_encoding(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding on")

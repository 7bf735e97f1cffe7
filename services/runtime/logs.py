"""Logs: one JSON object per line on stdout, with request id and job id where known."""

from __future__ import annotations

import logging
import sys

import structlog

from services.version import product_version


def configure_logs(service: str, level: str) -> None:
    """Send the logs of this process and of its libraries to stdout as JSON.

    The first line names the service and the version of the product.

    service: is added to every line.
    level: the lowest level that is logged, such as "INFO".
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # httpx logs full URLs at INFO, and ours carry signatures.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Any client can send such metadata; gRPC reads it as Latin-1, and servicers validate it.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_foreign_encoding)
    structlog.contextvars.bind_contextvars(service=service)
    structlog.get_logger(__name__).info("starting", version=product_version())


def _is_no_foreign_encoding(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding on")

"""The lines of a process's log: their fields, those of libraries, and lines that fail."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.runtime.logs import configure_logs


class Stdout(io.TextIOWrapper):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written = io.BytesIO()
        super().__init__(self.written)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was logged after the first line."""
        return [json.loads(line) for line in self.written.getvalue().splitlines()[1:]]


class FullDisk(io.BytesIO):
    def write(self, _: Any) -> int:
        raise OSError("No space left on device")


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stdout]:
    stream, before = Stdout(), logging.getLogger().handlers
    monkeypatch.setattr("sys.stdout", stream)
    configure_logs("catalog", "INFO")
    with structlog.contextvars.bound_contextvars(request_id="1-2"):
        yield stream
    structlog.reset_defaults()
    logging.basicConfig(handlers=before, force=True)


def test_a_line_names_its_time_place_service_and_request(stdout: Stdout) -> None:
    structlog.get_logger("services.there").info("token read", token_id=5)
    (line,) = stdout.lines
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "token read",
        "level": "info",
        "logger": "services.there",
        "request_id": "1-2",
        "service": "catalog",
        "token_id": 5,
    }


def test_lines_of_libraries_have_the_same_fields(stdout: Stdout) -> None:
    logging.getLogger("asyncpg").warning("slow %s", "query")
    (line,) = stdout.lines
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "slow query",
        "level": "warning",
        "logger": "asyncpg",
        "request_id": "1-2",
        "service": "catalog",
    }


def test_an_exception_is_one_line_with_its_traceback(stdout: Stdout) -> None:
    try:
        raise ValueError("no such column")
    except ValueError as error:
        structlog.get_logger("services.there").error("call failed", exc_info=error)
    (line,) = stdout.lines
    assert "Traceback" in line["exception"]
    assert "ValueError: no such column" in line["exception"]


def test_urls_that_httpx_requests_are_not_logged(stdout: Stdout) -> None:
    logging.getLogger("httpx").info("GET https://s3/take?signature=1")
    assert stdout.lines == []


def test_lines_below_the_level_are_not_logged(stdout: Stdout) -> None:
    structlog.get_logger().debug("detail")
    logging.getLogger("asyncpg").debug("detail")
    assert stdout.lines == []


def test_text_that_utf_8_cannot_express_is_escaped(stdout: Stdout) -> None:
    structlog.get_logger().info("upload", file_name="소리\udc80.wav")
    assert stdout.lines[0]["file_name"] == "소리\udc80.wav"


def test_a_line_that_cannot_be_written_does_not_fail_its_call(
    monkeypatch: pytest.MonkeyPatch,
    stdout: Stdout,
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(FullDisk()))
    configure_logs("catalog", "INFO")
    structlog.get_logger().info("token read")
    logging.getLogger("asyncpg").warning("slow query")

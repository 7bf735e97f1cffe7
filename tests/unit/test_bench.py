"""The tools of the measurements: they read protocols, so a mistake would be a wrong figure."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from bench.http1 import BufferedServer, Head, Response, parse_response
from bench.plots import plot
from bench.postgres_proxy import ClientParser, Sent
from bench.rows import Row, Rows, at_least_times, at_most
from bench.sink import Objects, Request

STARTUP = b"user\0sori\0application_name\0upload\0\0"


class RecordingServer(BufferedServer):
    """Keeps all requests with their bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, int, bytes | None]] = []

    def keeps_body(self, head: Head) -> bool:
        return head.target != "/discarded"

    def handle(self, head: Head, size: int, body: bytes | None) -> None:
        self.requests.append((head.target, size, body))


def received(data: bytes, piece: int) -> list[tuple[str, int, bytes | None]]:
    """The requests that a server reads from bytes that arrive in pieces of this size."""
    server = RecordingServer()
    server._transport = SimpleNamespace(write=lambda _: None)  # type: ignore[assignment]
    for start in range(0, len(data), piece):
        chunk = data[start : start + piece]
        server.get_buffer(-1)[: len(chunk)] = chunk
        server.buffer_updated(len(chunk))
    return server.requests


def message(kind: bytes, body: bytes) -> bytes:
    """A message of PostgreSQL's protocol."""
    return kind + struct.pack(">I", len(body) + 4) + body


def started() -> tuple[ClientParser, Sent]:
    """The parser of a connection of the upload service."""
    sent = Sent()
    parser = ClientParser(sent)
    parser.feed(struct.pack(">II", 8, 80877103))  # asks for TLS
    parser.feed(struct.pack(">II", len(STARTUP) + 8, 196608) + STARTUP)
    return parser, sent


def row(**changes: object) -> Row:
    rows = Rows("takes")
    rows.add("CPU <of> a take", "ms", 5.0, at_most(8), peer=10.0, peer_name="FastAPI")
    (only,) = rows.all
    return Row(**{**vars(only), **changes})


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_requests_are_read_however_they_arrive(piece: int) -> None:
    data = (
        b"PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        b"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2;x=y\r\nef\r\n0\r\n"
        b"x-amz-checksum-crc32: AAAA\r\n\r\n"
        b"PUT /discarded HTTP/1.1\r\nContent-Length: 2\r\n\r\nxy"
        b"GET /c HTTP/1.1\r\n\r\n"
    )
    assert received(data, piece) == [
        ("/a", 3, b"abc"),
        ("/b", 6, b"abcdef"),
        ("/discarded", 2, None),
        ("/c", 0, b""),
    ]


def test_a_response_is_incomplete_without_its_last_byte() -> None:
    complete = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert parse_response(complete[:-1]) is None
    assert parse_response(complete) == Response(200, b"ok")


def test_the_sink_decodes_chunks_of_a_kept_object() -> None:
    objects, headers = Objects(), {"content-encoding": "aws-chunked"}
    body = b"3;chunk-signature=x\r\nabc\r\n0;chunk-signature=y\r\n\r\n"
    objects.answer(Request("PUT", "sori", "voice/1", {}, headers, 3, body))
    answer = objects.answer(Request("GET", "sori", "voice/1", {}, {}, 0, None))
    assert answer.body == b"abc"


def test_the_sink_adds_up_the_parts_of_a_multipart_upload() -> None:
    objects = Objects()
    key = "recordings/1/a"
    created = objects.answer(Request("POST", "sori", key, {"uploads": ""}, {}, 0, b""))
    upload_id = ElementTree.fromstring(created.body.decode()).findtext("UploadId") or ""
    for number in (1, 2):
        query = {"uploadId": upload_id, "partNumber": str(number)}
        objects.answer(Request("PUT", "sori", key, query, {}, 5, None))
    objects.answer(Request("POST", "sori", key, {"uploadId": upload_id}, {}, 0, b""))
    assert objects.answer(Request("HEAD", "sori", key, {}, {}, 0, None)).size == 10
    assert objects.requests["UploadPart"] == 2


def test_statements_pings_and_round_trips_are_counted_by_application() -> None:
    parser, sent = started()
    parser.feed(
        message(b"P", b"s1\0SELECT 1\0\0\0")
        + message(b"B", b"\0s1\0\0\0\0\0\0\0")
        + message(b"E", b"\0\0\0\0\0")
        + message(b"S", b"")
        + message(b"Q", b";\0")
        + message(b"Q", b"COMMIT;\0")
    )
    assert sent.statements == {"upload": 2}
    assert sent.pings == {"upload": 1}
    assert sent.round_trips == {"upload": 3}


def test_a_statement_that_is_prepared_once_is_counted_at_every_execution() -> None:
    parser, sent = started()
    parser.feed(message(b"P", b"s1\0SELECT 1\0\0\0"))
    for _ in range(3):
        parser.feed(message(b"B", b"\0s1\0\0\0\0\0\0\0") + message(b"E", b"\0\0\0\0\0"))
    assert sent.statements == {"upload": 3}


def test_a_goal_is_judged_by_our_figure_or_by_the_ratio() -> None:
    assert at_most(8).is_met(5.0, ratio=None) is True
    assert at_least_times(3).is_met(5.0, ratio=2.0) is False
    assert at_least_times(3).is_met(5.0, ratio=None) is None
    assert row().ratio == 0.5


def test_a_plot_is_xml_with_a_bar_for_each_competitor() -> None:
    tree = ElementTree.fromstring(plot([row(), row(peer=None)]))
    assert len([each for each in tree if each.tag.endswith("rect")]) == 3

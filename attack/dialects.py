"""Clients that do nothing wrong and were refused: forms, preflights, old protocols, habits."""

from __future__ import annotations

from contextlib import suppress

from attack.model import Outcome
from attack.target import Target, take

_FORM = "/tokens/1/upload-audio"
_CORS_HEADERS = ("cache-control", "traceparent", "last-event-id", "x-requested-with")
_NAMES = {
    "CP949": "수지.webm".encode("cp949"),
    "Latin-1": b"caf\xe9.webm",
    "Shift-JIS": b"\x89\xb9",
}


def forms_of_browsers(target: Target) -> Outcome:
    """File names in the encodings of old systems, and fields before and after the file."""
    statuses = {}
    with target.http() as client:
        for name, encoded in _NAMES.items():
            body = _form(encoded, take(6))
            headers = {"content-type": "multipart/form-data; boundary=x"}
            statuses[name] = client.post(_FORM, content=body, headers=headers).status_code
        fields = {"name": "take.webm", "relativePath": "null"}
        files = {"file": ("take.webm", take(6))}
        statuses["fields"] = client.post(_FORM, data=fields, files=files).status_code
    return _all(statuses, {200})


def preflights(target: Target) -> Outcome:
    """The headers that EventSource and tracing clients send are allowed across origins."""
    found = {}
    with target.http() as client:
        for header in _CORS_HEADERS:
            answer = client.options(
                "/tokens/analysis-progress/x",
                headers={
                    "origin": "https://app.example",
                    "access-control-request-method": "GET",
                    "access-control-request-headers": header,
                },
            )
            allowed = answer.headers.get("access-control-allow-headers", "").lower()
            found[header] = int(header in [each.strip() for each in allowed.split(",")])
    is_off = not any(found.values()) and target.name != "make up"
    outcome = _all(found, {1})
    return Outcome("off by default" if is_off else outcome.seen, is_off or outcome.is_right)


def habits_of_http(target: Target) -> Outcome:
    """HTTP/1.0, HEAD, a wrong method, and Korean that is not escaped."""
    statuses = {
        "HTTP/1.0": _status(target, b"GET /tokens/1 HTTP/1.0\r\n\r\n"),
        "HEAD": _status(target, b"HEAD /tokens/1 HTTP/1.1\r\nHost: sori\r\n\r\n"),
        "PUT": _status(
            target, b"PUT /tokens/1 HTTP/1.1\r\nHost: sori\r\nContent-Length: 0\r\n\r\n"
        ),
        "raw Korean": _status(
            target, "GET /actors:search?query=수지 HTTP/1.1\r\nHost: sori\r\n\r\n".encode()
        ),
    }
    seen = ", ".join(f"{name} {status}" for name, status in statuses.items())
    expected = {"HTTP/1.0": {200}, "HEAD": {200}, "PUT": {405}, "raw Korean": {200, 400}}
    return Outcome(seen, all(statuses[name] in allowed for name, allowed in expected.items()))


def _all(statuses: dict[str, int], allowed: set[int]) -> Outcome:
    wrong = [name for name, status in statuses.items() if status not in allowed]
    seen = ", ".join(f"{name} {status}" for name, status in statuses.items())
    return Outcome(seen, not wrong)


def _form(name: bytes, content: bytes) -> bytes:
    disposition = b'Content-Disposition: form-data; name="file"; filename="' + name + b'"\r\n'
    return b"--x\r\n" + disposition + b"\r\n" + content + b"\r\n--x--\r\n"


def _status(target: Target, request: bytes) -> int:
    with target.connect() as connection, suppress(OSError, ValueError, IndexError):
        connection.settimeout(5)
        connection.sendall(request)
        return int(connection.recv(4096).split()[1])
    return 0

"""Large recordings by gRPC stream, form or tus, from blocking clients that cost little."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import grpc

from bench.http1 import Response, parse_response, request_head
from bench.load.analysis_server import InstantAnalysisServer
from bench.load.recordings import FORM_TYPE, form_end, form_length, form_start, wav_head
from bench.processes import CpuMeter, peak_bytes, reset_peaks
from sori.upload.v1 import upload_pb2 as pb

MIB = 1024**2
_METHOD = "/sori.upload.v1.UploadService/UploadAudio"
_WARM_UP_BYTES = 8 * MIB
_DEADLINE_SECONDS = 120
_CHUNK = os.urandom(MIB)

How = Literal["grpc", "form", "tus"]
Headers = dict[str, str | int]


@dataclass(frozen=True)
class Settings:
    """What to upload.

    size: bytes of each recording, a multiple of 1 MiB. streams: concurrent uploads.
    until_dispatched: for a peer that answers before S3 has the recording.
    """

    how: How
    port: int
    analysis_port: int
    size: int
    pids: dict[str, int]
    streams: int = 1
    until_dispatched: bool = False


@dataclass(frozen=True)
class Result:
    """Throughput in MB (10⁶ bytes) per second; CPU seconds per GB and peak MB by program."""

    mb_per_second: float
    cpu_seconds_per_gb: dict[str, float]
    peak_mb: dict[str, float]


async def measure(settings: Settings) -> Result:
    """Upload all streams at the same time, after a small one."""
    async with (
        InstantAnalysisServer(settings.analysis_port, "keep") as server,
        asyncio.timeout(_DEADLINE_SECONDS),
    ):
        await asyncio.to_thread(upload, settings, _WARM_UP_BYTES)
        if settings.until_dispatched:
            await server.wait_dispatched(1)
        reset_peaks(settings.pids)
        meter, began, before = CpuMeter(settings.pids), time.perf_counter(), len(server.dispatched)
        uploads = (
            asyncio.to_thread(upload, settings, settings.size) for _ in range(settings.streams)
        )
        await asyncio.gather(*uploads)
        if settings.until_dispatched:
            await server.wait_dispatched(before + settings.streams)
        lasted, spent = time.perf_counter() - began, meter.spent()
    total = settings.size * settings.streams
    return Result(
        total / 1e6 / lasted,
        {name: seconds / total * 1e9 for name, seconds in spent.items()},
        {name: peak_bytes(pid) / 1e6 for name, pid in settings.pids.items()},
    )


def upload(settings: Settings, size: int) -> None:
    """Upload one recording and wait for the answer."""
    {"grpc": by_grpc, "form": by_form, "tus": by_tus}[settings.how](settings.port, size)


def by_grpc(port: int, size: int) -> None:
    """A gRPC stream of messages of 1 MiB."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    chunk = pb.UploadAudioRequest(chunk=_CHUNK).SerializeToString()

    def messages() -> Iterator[bytes]:
        metadata = pb.UploadAudioMetadata(token_id=1, file_name="take.wav")
        yield pb.UploadAudioRequest(metadata=metadata).SerializeToString()
        yield pb.UploadAudioRequest(chunk=first_mib(size)).SerializeToString()
        for _ in range(size // MIB - 1):
            yield chunk
        finish = pb.UploadAudioFinish(size=size)
        yield pb.UploadAudioRequest(finish=finish).SerializeToString()

    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(_METHOD)
        call(messages(), timeout=_DEADLINE_SECONDS)


def by_form(port: int, size: int) -> None:
    """A browser's form."""
    head = request_head(
        "POST",
        "/tokens/1/upload-audio",
        port,
        Content_Type=FORM_TYPE,
        Content_Length=form_length(size),
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head)
        connection.sendall(form_start())
        _send_recording(connection, size)
        connection.sendall(form_end())
        _require(_response(connection)[0], 200)


def by_tus(port: int, size: int) -> None:
    """A resumable upload in one PATCH request."""
    metadata = f"token_id {b64encode(b'1').decode()}"
    common: Headers = {"Tus_Resumable": "1.0.0"}
    with socket.create_connection(("127.0.0.1", port)) as connection:
        wanted: Headers = {"Upload_Length": size, "Upload_Metadata": metadata, "Content_Length": 0}
        connection.sendall(request_head("POST", "/uploads", port, **common, **wanted))
        response, head = _response(connection)
        _require(response, 201)
    (location,) = (
        line.partition(":")[2].strip()
        for line in head.splitlines()
        if line.lower().startswith("location:")
    )
    content: Headers = {"Content_Type": "application/offset+octet-stream", "Content_Length": size}
    with socket.create_connection(("127.0.0.1", port)) as connection:
        path = urlsplit(location).path
        connection.sendall(request_head("PATCH", path, port, **common, **content, Upload_Offset=0))
        _send_recording(connection, size)
        _require(_response(connection)[0], 204)


def first_mib(size: int) -> bytes:
    """The first MiB of a recording: a header, and bytes that make the recording unique."""
    head = wav_head(size, sample_rate=48_000)
    return head + os.urandom(MIB - len(head))


def _send_recording(connection: socket.socket, size: int) -> None:
    connection.sendall(first_mib(size))
    for _ in range(size // MIB - 1):
        connection.sendall(_CHUNK)


def _response(connection: socket.socket) -> tuple[Response, str]:
    received = b""
    while (response := parse_response(received)) is None:
        received += connection.recv(65536) or _raise_closed()
    return response, received.decode()


def _raise_closed() -> bytes:
    raise ConnectionError("the server closed the connection")


def _require(response: Response, status: int) -> None:
    if response.status != status:
        raise RuntimeError(f"the upload was refused: {response}")

"""Recordings that harm a decoder: many channels, a rate of 1 Hz, covers that inflate."""

from __future__ import annotations

import io
import struct
import time
import zlib
from random import Random

import av
import httpx

from attack.memory import peaks
from attack.model import Outcome
from attack.target import Target

_END_SECONDS = 20.0
_MEMORY_MIB = 1536
"""The memory limit of the analyzer's pod."""
_COVERS = 10
_COVER_SIDE = 16_000
_CRASHES = ("ANALYSIS_CRASHED", "INTERNAL", "WORKER_DIED")
_NO_END = "no end"


def hostile_recordings(target: Target) -> Outcome:
    """Each job ends with a reason or a result; the analyzer stays within its memory."""
    with peaks(target.stack, ("analyzer",)) as largest, target.http() as client:
        answers = {name: target.upload(each, name) for name, each in _recordings().items()}
        deadline = time.monotonic() + _END_SECONDS
        ends = {name: _end(client, answer, deadline) for name, answer in answers.items()}
    wrong = {name: end for name, end in ends.items() if end in (*_CRASHES, _NO_END)}
    memory = largest["analyzer"]
    seen = ", ".join(f"{name}: {end}" for name, end in ends.items())
    return Outcome(f"{seen}; analyzer at most {memory} MiB", not wrong and memory < _MEMORY_MIB)


def _end(client: httpx.Client, answer: httpx.Response, deadline: float) -> str:
    """How the upload or its job ends: the reason of a refusal or failure, or the state."""
    if answer.is_error:
        return f"refused {answer.status_code}"
    path = f"/tokens/analysis-result/{answer.json()['job_id']}"
    while time.monotonic() < deadline:
        state = client.get(path).json()
        if state["status"] != "processing":
            return str(state.get("failure_reason") or state["status"])
        time.sleep(0.1)
    return _NO_END


def _recordings() -> dict[str, bytes]:
    return {
        "8 channels": _wav(8),
        "24 channels": _wav(24),
        # 200 minutes, less than MAX_RECORDING_SECONDS.
        "1 Hz": flac(rate=1, blocks=3),
        "covers": with_covers(flac()),
        "sizes unknown": _with_unknown_sizes(_wav(1)),
    }


def _wav(channels: int) -> bytes:
    """A second of noise with 16 bits."""
    rate, width = 16_000, 2 * channels
    data = Random(channels).randbytes(rate * width)  # noqa: S311 (noise)
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * width, width, 16)
    return b"".join(
        (
            b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE",
            b"fmt " + struct.pack("<I", len(form)) + form,
            b"data" + struct.pack("<I", len(data)) + data,
        )
    )


def _with_unknown_sizes(wav: bytes) -> bytes:
    """What `ffmpeg -f wav -` writes: sizes that mean unknown."""
    unknown = b"\xff" * 4
    return wav[:4] + unknown + wav[8:40] + unknown + wav[44:]


def flac(rate: int = 16_000, blocks: int = 8) -> bytes:
    """Silence in blocks of 4,000 samples."""
    output = io.BytesIO()
    with av.open(output, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate)
        stream.layout = "mono"
        for _ in range(blocks):
            frame = av.AudioFrame(format="s16", layout="mono", samples=4000)
            frame.sample_rate = rate
            frame.planes[0].update(bytes(8000))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return output.getvalue()


def with_covers(content: bytes) -> bytes:
    """The same file with pictures that are small as files and large as images."""
    png = _png(_COVER_SIDE)
    picture = struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">I", 0)
    picture += struct.pack(">IIIII", _COVER_SIDE, _COVER_SIDE, 24, 0, len(png)) + png
    block = b"\x06" + len(picture).to_bytes(3, "big") + picture
    # The first block is STREAMINFO, which must no longer be the last one.
    head = content[:4] + bytes([content[4] & 0x7F]) + content[5:42]
    return head + block * _COVERS + content[42:]


def _png(side: int) -> bytes:
    """A white square with one bit for each pixel."""
    row = b"\0" + b"\xff" * (side // 8)
    packed = zlib.compress(row * side, 9)
    form = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", form), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )

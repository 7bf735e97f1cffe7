"""Upload streams that are held open with large messages."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc

from attack.memory import peaks, resident_mib
from attack.model import Outcome
from attack.target import TOKEN_ID, Target, memory_limits_mib
from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from stack.readiness import wait_until

_STREAMS = 128
_STREAMS_OF_A_CHANNEL = 16
_CHUNK_BYTES = 4 * 1024**2 - 64
_CHUNKS = 2
_HELD_SECONDS = 6.0
_GIVEN_BACK_SECONDS = 8.0
_GIVEN_BACK_SHARE = 0.5


def held_uploads(target: Target) -> Outcome:
    """128 streams with chunks of 4 MiB that never finish; their memory is given back."""
    limit = memory_limits_mib()["upload"]
    held = threading.Event()
    chunk = pb.UploadAudioRequest(chunk=b"RIFF" + bytes(_CHUNK_BYTES))
    with ExitStack() as exits, peaks(target.stack, ("upload",)) as largest:
        channels = [
            exits.enter_context(target.channel()) for _ in range(_STREAMS // _STREAMS_OF_A_CHANNEL)
        ]
        executor = exits.enter_context(ThreadPoolExecutor(_STREAMS))
        calls = [
            executor.submit(_hold, channels[number % len(channels)], chunk, held)
            for number in range(_STREAMS)
        ]
        held.wait(_HELD_SECONDS)
        held.set()
        statuses = Counter(call.result() for call in calls)
    limit_after = limit * _GIVEN_BACK_SHARE
    is_given_back = wait_until(
        lambda: resident_mib(target.stack, "upload") < limit_after, _GIVEN_BACK_SECONDS
    )
    after = resident_mib(target.stack, "upload")
    counts = ", ".join(f"{number}× {status}" for status, number in statuses.items())
    seen = f"upload at most {largest['upload']} MiB, then {after} MiB; {counts}"
    return Outcome(seen, largest["upload"] < limit and is_given_back)


def _hold(channel: grpc.Channel, chunk: pb.UploadAudioRequest, held: threading.Event) -> str:
    """Send chunks, then nothing until the event is set; the status of the call."""

    def messages() -> Iterator[pb.UploadAudioRequest]:
        yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=TOKEN_ID))
        for _ in range(_CHUNKS):
            yield chunk
        held.wait(_HELD_SECONDS)

    stub = upload_pb2_grpc.UploadServiceStub(channel)
    try:
        stub.UploadAudio(messages(), timeout=2 * _HELD_SECONDS)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"

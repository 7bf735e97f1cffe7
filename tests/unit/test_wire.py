"""Messages with only bytes of a file are read as protobuf reads them; others are left to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from services.upload.wire import DESERIALIZERS, deserializer
from sori.upload.v1 import tus_pb2 as tus
from sori.upload.v1 import upload_pb2 as pb

CHUNK = deserializer(pb.UploadAudioRequest, "chunk")
FORM = deserializer(pb.UploadAudioFormRequest, "form.data")
SIZES = [1, 127, 128, 16_383, 16_384, 2**20]
OTHERS = [
    pb.UploadAudioRequest(),
    pb.UploadAudioRequest(chunk=b""),
    pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=1, file_name="a.wav")),
    pb.UploadAudioRequest(finish=pb.UploadAudioFinish(size=5)),
]

any_bytes = st.binary(max_size=20) | st.builds(
    # Nearly right messages are rare among random bytes.
    lambda tag, length, rest: bytes([tag, length]) + rest,
    st.sampled_from([0x0A, 0x12, 0x1A]),
    st.integers(0, 12) | st.sampled_from([0x80, 0x81, 0xFF]),
    st.binary(max_size=12),
)


@pytest.mark.parametrize("size", SIZES)
def test_a_chunk_is_a_view_of_its_message(size: int) -> None:
    message = pb.UploadAudioRequest(chunk=b"x" * size).SerializeToString()
    chunk = CHUNK(message)
    assert isinstance(chunk, memoryview)
    assert chunk == b"x" * size
    assert chunk.obj is message


@pytest.mark.parametrize("size", SIZES)
def test_bytes_of_a_body_are_a_view_of_their_message(size: int) -> None:
    body = HttpBody(data=b"x" * size)
    assert FORM(pb.UploadAudioFormRequest(form=body).SerializeToString()) == b"x" * size


@pytest.mark.parametrize("message", OTHERS, ids=str)
def test_other_messages_are_parsed_by_protobuf(message: pb.UploadAudioRequest) -> None:
    assert CHUNK(message.SerializeToString()) == message


def test_a_message_with_more_than_the_bytes_is_parsed_by_protobuf() -> None:
    write = pb.WriteUploadRequest(chunk=b"abc", finish_write=True)
    body = tus.WriteTusUploadRequest(content=HttpBody(content_type="audio/wav", data=b"abc"))
    deserialize = deserializer(pb.WriteUploadRequest, "chunk")
    assert deserialize(write.SerializeToString()) == write
    deserialize = deserializer(tus.WriteTusUploadRequest, "content.data")
    assert deserialize(body.SerializeToString()) == body


@given(any_bytes)
def test_any_chunk_is_the_one_that_protobuf_reads(message: bytes) -> None:
    require_equal(CHUNK, message, pb.UploadAudioRequest, lambda parsed: parsed.chunk)


@given(any_bytes | any_bytes.map(lambda inner: bytes([0x12, len(inner)]) + inner))
def test_any_bytes_of_a_body_are_those_that_protobuf_reads(message: bytes) -> None:
    require_equal(FORM, message, pb.UploadAudioFormRequest, lambda parsed: parsed.form.data)


def test_each_rpc_that_receives_files_has_a_deserializer() -> None:
    services = [
        module.DESCRIPTOR.services_by_name[name]
        for module, name in ((pb, "UploadService"), (tus, "TusService"))
    ]
    streams = {
        f"/{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if method.client_streaming
    }
    assert set(DESERIALIZERS) == streams


def require_equal(
    deserialize: Callable[[bytes], Any],
    message: bytes,
    message_type: Any,
    content_of: Callable[[Any], bytes],
) -> None:
    """Require that a deserializer reads, or refuses, what protobuf reads, or refuses."""
    try:
        expected = message_type.FromString(message)
    except DecodeError:
        with pytest.raises(DecodeError):
            deserialize(message)
        return
    read = deserialize(message)
    if isinstance(read, memoryview):
        assert read == content_of(expected)
        # The message has nothing else.
        assert len(expected.SerializeToString()) == expected.ByteSize() <= len(message)
    else:
        assert read == expected

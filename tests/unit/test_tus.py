"""tus headers are parsed, or refused with an error."""

from __future__ import annotations

import base64
import string
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import InvalidField
from services.upload import tus
from services.upload.checksums import DIGEST_BYTES, Algorithm, Checksum
from services.upload.errors import UploadNotFound
from services.upload.models import Kind
from services.upload.request_ids import RequestId

HEADERS = (
    "upload-length",
    "upload-defer-length",
    "upload-offset",
    "upload-metadata",
    "upload-checksum",
    "upload-concat",
)
UNNAMED = RequestId("", "192.0.2.1")
RESERVED_KEYS = ("token_id", "filename", "name", "purpose")
keys = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


@given(st.dictionaries(keys, st.text(max_size=50), max_size=8))
def test_encoded_metadata_are_decoded(values: dict[str, str]) -> None:
    raw = ",".join(f"{key} {encoded(value)}" for key, value in values.items())
    assert tus.metadata_of(raw) == values


def test_a_metadata_key_without_a_value_is_empty() -> None:
    assert tus.metadata_of("is_confidential,token_id MQ==") == {
        "is_confidential": "",
        "token_id": "1",
    }


def test_a_file_name_that_is_not_utf_8_is_decoded() -> None:
    raw = base64.b64encode("녹음.webm".encode("cp949")).decode()
    assert tus.metadata_of(f"filename {raw}") == {"filename": "녹음.webm"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"filename": "a.wav", "name": "b.wav"}, "a.wav"),
        ({"name": "b.wav"}, "b.wav"),
        ({}, ""),
    ],
)
def test_the_file_name_is_read_from_either_key(names: dict[str, str], expected: str) -> None:
    pairs = {"token_id": "7", **names}
    raw = ",".join(f"{key} {encoded(value)}" for key, value in pairs.items())
    headers = {"upload-length": "5", "upload-metadata": raw}
    plan = tus.creation_of(headers, UNNAMED).plan
    assert (plan.file_name, plan.client_metadata) == (expected, raw)


@given(st.uuids())
def test_an_upload_id_is_parsed(upload_id: UUID) -> None:
    assert tus.upload_id_of(str(upload_id)) == upload_id


@given(st.text(max_size=5000).map(lambda text: f"no {text}"))
def test_an_invalid_upload_id_is_not_found(text: str) -> None:
    with pytest.raises(UploadNotFound) as error:
        tus.upload_id_of(text)
    assert len(error.value.metadata["upload_id"]) <= tus.MAX_ID_LENGTH


@given(st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=200)), st.text(max_size=140))
def test_any_headers_are_parsed_or_refused(headers: dict[str, str], request_id: str) -> None:
    for parse in (tus.offset_of, tus.late_size_of, tus.checksum_of):
        with suppress(InvalidField):
            parse(headers)
    with suppress(InvalidField):
        tus.creation_of(headers, RequestId(request_id, "192.0.2.1"))


@given(
    st.integers(1, 2**31 - 1),
    st.none() | st.integers(0, 10**18 - 1),
    st.dictionaries(keys.filter(lambda key: key not in RESERVED_KEYS), st.text(max_size=50)),
)
def test_a_creation_has_the_token_and_size_of_its_headers(
    token_id: int, size: int | None, others: dict[str, str]
) -> None:
    pairs = {**others, "token_id": str(token_id)}
    raw = ",".join(f"{key} {encoded(value)}" for key, value in pairs.items())
    length = {"upload-defer-length": "1"} if size is None else {"upload-length": str(size)}
    plan = tus.creation_of({**length, "upload-metadata": raw}, UNNAMED).plan
    assert (plan.kind, plan.token_id, plan.size) == (Kind.RECORDING, token_id, size)
    assert plan.client_metadata == raw


def test_an_upload_can_become_the_picture_of_the_account() -> None:
    raw = f"purpose {encoded('picture')}"
    headers = {"upload-length": "5", "upload-metadata": raw}
    plan = tus.creation_of(headers, UNNAMED, "an account").plan
    assert (plan.kind, plan.token_id, plan.size) == (Kind.PICTURE, 0, 5)
    assert (plan.owner_id, plan.client_metadata) == ("an account", raw)


@given(st.sampled_from(list(DIGEST_BYTES)), st.data())
def test_an_encoded_checksum_is_decoded(algorithm: Algorithm, data: st.DataObject) -> None:
    size = DIGEST_BYTES[algorithm]
    digest = data.draw(st.binary(min_size=size, max_size=size))
    header = f"{algorithm} {base64.b64encode(digest).decode()}"
    assert tus.checksum_of({"upload-checksum": header}) == Checksum(algorithm, digest)


@given(
    st.lists(st.uuids(), min_size=1, max_size=10, unique=True),
    st.sampled_from(["", "http://a.example:1"]),
)
def test_partial_uploads_are_named_by_paths_or_urls(partials: list[UUID], host: str) -> None:
    concat = "final;" + " ".join(f"{host}/uploads/{each}" for each in partials)
    headers = {"upload-concat": concat, "upload-metadata": f"token_id {encoded('7')}"}
    creation = tus.creation_of(headers, UNNAMED)
    assert creation.partial_uploads == tuple(partials)
    assert (creation.plan.kind, creation.plan.token_id) == (Kind.RECORDING, 7)


@given(st.uuids(), st.lists(st.uuids(), max_size=5))
def test_a_partial_upload_is_concatenated_once(repeated: UUID, others: list[UUID]) -> None:
    paths = [str(repeated), *map(str, others), repeated.hex.upper()]
    concat = "final;" + " ".join(f"/uploads/{each}" for each in paths)
    headers = {"upload-concat": concat, "upload-metadata": f"token_id {encoded('7')}"}
    with pytest.raises(InvalidField, match="each upload once"):
        tus.creation_of(headers, UNNAMED)


def test_too_many_partial_uploads_are_refused() -> None:
    concat = "final;" + " ".join(f"/uploads/{uuid4()}" for _ in range(tus.MAX_PARTIAL_UPLOADS + 1))
    with pytest.raises(InvalidField):
        tus.creation_of({"upload-concat": concat}, UNNAMED)


def test_long_metadata_are_refused() -> None:
    with pytest.raises(InvalidField):
        tus.metadata_of("a " + encoded("x" * tus.MAX_METADATA_LENGTH))


@given(st.integers(0, 10**18 - 1))
def test_an_offset_is_parsed(size: int) -> None:
    assert tus.offset_of({"upload-offset": str(size)}) == size


@given(
    st.from_regex(r"[-+ ][0-9]{1,18}", fullmatch=True)
    | st.from_regex(r"[0-9]{0,17}[^0-9][0-9]{0,17}", fullmatch=True)
    | st.from_regex(r"[0-9]{19,30}", fullmatch=True)
)
def test_an_offset_must_be_a_number_of_up_to_18_digits(text: str) -> None:
    with pytest.raises(InvalidField):
        tus.offset_of({"upload-offset": text})


@pytest.mark.parametrize("concat", ["", "partial"])
def test_what_a_post_creates_has_its_owner(concat: str) -> None:
    headers = {
        "upload-length": "5",
        "upload-metadata": f"token_id {encoded('7')}",
        "upload-concat": concat,
    }
    assert tus.creation_of(headers, UNNAMED, "learner-1").plan.owner_id == "learner-1"
    final = {**headers, "upload-concat": f"final;/uploads/{uuid4()}"}
    del final["upload-length"]
    assert tus.creation_of(final, UNNAMED, "learner-1").plan.owner_id == "learner-1"

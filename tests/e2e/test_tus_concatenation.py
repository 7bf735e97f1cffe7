"""tus: partial uploads and their concatenations at /uploads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import uuid4

import httpx

from services.upload.tus import MAX_PARTIAL_UPLOADS
from tests.e2e.product import Product, error_info
from tests.e2e.tus import CONTENT, LONG, Tus, metadata, upload_of
from tests.e2e.uploading import MIB, Uploader, assert_analysed
from tests.e2e.waiting import eventually


def upload_partial(tus: Tus, content: bytes) -> str:
    """Create and complete a partial upload; returns its location."""
    headers = {"Upload-Concat": "partial", "Upload-Length": str(len(content))}
    created = tus.request("POST", "/uploads", headers)
    assert created.status_code == 201, created.text
    location: str = created.headers["location"]
    assert tus.patch(location, 0, content).status_code == 204
    assert tus.head(location).headers["upload-concat"] == "partial"
    return location


def concatenate(tus: Tus, *locations: str) -> httpx.Response:
    headers = {
        "Upload-Concat": f"final;{' '.join(locations)}",
        "Upload-Metadata": metadata(token_id=tus.token_id),
    }
    return tus.request("POST", "/uploads", headers)


def test_partial_uploads_are_concatenated(product: Product, uploader: Uploader, tus: Tus) -> None:
    cuts = [0, 1000, 7 * MIB, len(LONG)]
    partials = [upload_partial(tus, LONG[start:end]) for start, end in pairwise(cuts)]
    absolute = str(tus.gateway.base_url.join(partials[2]))
    answer = concatenate(tus, partials[0], partials[1], absolute)
    assert answer.status_code == 201, answer.text
    location = answer.headers["location"]
    head = tus.head(location).headers
    assert head["upload-concat"].startswith("final;")
    assert head["upload-offset"] == head["upload-length"] == str(len(LONG))
    assert tus.patch(location, len(LONG), b"x").status_code == 403
    assert_analysed(product, upload_of(uploader, location), LONG)


def test_a_repeated_concatenation_makes_one_recording(
    product: Product, uploader: Uploader, tus: Tus
) -> None:
    partials = [upload_partial(tus, CONTENT[:1000]), upload_partial(tus, CONTENT[1000:])]
    first, again = concatenate(tus, *partials), concatenate(tus, *partials)
    assert (first.status_code, again.status_code) == (201, 201)
    for header in ("location", "x-job-id", "upload-offset"):
        assert again.headers[header] == first.headers[header]
    assert product.jobs_of(tus.token_id) == [first.headers["x-job-id"]]
    assert_analysed(product, upload_of(uploader, first.headers["location"]), CONTENT)


def test_concurrent_concatenations_make_one_recording(product: Product, tus: Tus) -> None:
    partials = [upload_partial(tus, LONG[: 6 * MIB]), upload_partial(tus, LONG[6 * MIB :])]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: concatenate(tus, *partials), range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.headers["upload-offset"] for answer in answers} == {str(len(LONG))}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(product.jobs_of(tus.token_id)) == 1


def test_other_partial_uploads_or_another_order_make_another_recording(
    product: Product, tus: Tus
) -> None:
    partials = [upload_partial(tus, CONTENT), upload_partial(tus, CONTENT)]
    for wanted in (partials, partials[::-1], partials[:1]):
        assert concatenate(tus, *wanted).status_code == 201
    assert len(product.jobs_of(tus.token_id)) == 3


def test_a_concatenation_that_failed_can_be_repeated(product: Product, tus: Tus) -> None:
    partials = [upload_partial(tus, b"no audio" * 2500)]
    assert [concatenate(tus, *partials).status_code for _ in range(2)] == [415, 415]
    assert len(product.jobs_of(tus.token_id)) == 2


def test_deleting_a_completed_partial_upload_deletes_its_bytes(product: Product, tus: Tus) -> None:
    location = upload_partial(tus, CONTENT)
    key = f"partials/{location.removeprefix('/uploads/')}"
    assert product.object_keys(key) == [key]
    assert tus.request("DELETE", location).status_code == 204
    assert error_info(concatenate(tus, location))["reason"] == "UPLOAD_NOT_FOUND"
    eventually(lambda: product.object_keys(key) == [])


def test_incomplete_partial_uploads_are_not_concatenated(product: Product, tus: Tus) -> None:
    headers = {"Upload-Concat": "partial", "Upload-Length": "1000"}
    incomplete = tus.request("POST", "/uploads", headers).headers["location"]
    assert error_info(concatenate(tus, incomplete))["reason"] == "UPLOAD_INCOMPLETE"
    assert error_info(concatenate(tus, f"/uploads/{uuid4()}"))["reason"] == "UPLOAD_NOT_FOUND"
    assert error_info(concatenate(tus, tus.create_upload(5)))["reason"] == "INVALID_FIELD"
    assert product.recording_keys(tus.token_id) == []


def test_the_maximum_number_of_partial_uploads_fits_into_the_headers(tus: Tus) -> None:
    origin = str(tus.gateway.base_url).rstrip("/")
    partials = [f"{origin}/uploads/{uuid4()}" for _ in range(MAX_PARTIAL_UPLOADS)]
    answer = concatenate(tus, *partials)
    assert (answer.status_code, error_info(answer)["reason"]) == (404, "UPLOAD_NOT_FOUND")
    answer = concatenate(tus, *partials, f"/uploads/{uuid4()}")
    assert (answer.status_code, error_info(answer)["reason"]) == (400, "INVALID_FIELD")

"""Every error has texts in both languages, and its status reveals nothing else."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

import services.accounts.errors as accounts_errors
import services.analysis.errors as analysis_errors
import services.catalog.errors as catalog_errors
import services.runtime.shared_errors as shared_errors
import services.upload.errors as upload_errors
from services.runtime.errors import (
    MAX_VIOLATIONS,
    FieldViolation,
    InternalError,
    InvalidField,
    SoriError,
    status_details,
)
from services.runtime.language import Language
from services.runtime.shared_errors import TokenNotFound

# Importing a service's errors registers them.
MODULES = (catalog_errors, upload_errors, analysis_errors, accounts_errors, shared_errors)
CATALOGUE = SoriError.__subclasses__()


MAX_TRAILERS = 7 * 1024
"""gRPC allows 8 KiB; 1 KiB is for the other trailers."""
PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if code != ord("%"))
LANGUAGES = list(Language)


def trailers_of(status: status_pb2.Status) -> str:
    """The two trailers of a status as gRPC sends them."""
    message = quote(status.message, safe=PRINTABLE)
    return message + base64.b64encode(status.SerializeToString()).decode()


def violations_of(error: SoriError) -> list[tuple[str, str]]:
    request = error_details_pb2.BadRequest()
    assert status_details(error, Language.KOREAN).details[2].Unpack(request)
    return [(each.field, each.description) for each in request.field_violations]


def placeholders(template: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", template))


@pytest.mark.parametrize("error", CATALOGUE, ids=lambda error: error.reason)
def test_both_languages_have_the_same_placeholders(error: type[SoriError]) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", error.reason)
    assert re.search("[가-힣]", error.learner.korean)
    for text in (error.learner.korean, error.learner.english):
        assert placeholders(text) <= placeholders(error.developer) | {"limit_seconds", "supported"}


def test_reasons_are_unique() -> None:
    assert len({error.reason for error in CATALOGUE}) == len(CATALOGUE)


def test_a_status_has_reason_metadata_and_learner_message() -> None:
    status = status_details(TokenNotFound(token_id=99), Language.KOREAN)
    info = error_details_pb2.ErrorInfo()
    localized = error_details_pb2.LocalizedMessage()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(localized)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "TOKEN_NOT_FOUND",
        "sori",
        {"token_id": "99"},
    )
    assert localized.locale == "ko"
    assert "99" in localized.message


def test_all_invalid_fields_are_named() -> None:
    error = InvalidField(FieldViolation("a", "must be 1"), FieldViolation("b", "must be 2"))
    status = status_details(error, Language.ENGLISH)
    request = error_details_pb2.BadRequest()
    assert status.details[2].Unpack(request)
    assert [violation.field for violation in request.field_violations] == ["a", "b"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("error", CATALOGUE, ids=lambda error: error.reason)
def test_a_status_with_long_metadata_fits_into_trailers(
    error: type[SoriError], language: Language
) -> None:
    texts = error.developer + error.learner.korean + error.learner.english
    metadata = dict.fromkeys(placeholders(texts), "가" * 10_000)
    violations = [FieldViolation("가" * 10_000, "%" * 10_000)] * 1_000
    failure: SoriError = error.__new__(error)
    SoriError.__init__(failure, (), **metadata)
    if error is InvalidField:
        failure = InvalidField(*violations)
    status = status_details(failure, language)
    assert len(trailers_of(status)) <= MAX_TRAILERS
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == error.reason


@given(
    violations=st.lists(
        st.builds(FieldViolation, st.text(max_size=300), st.text(max_size=300)), max_size=30
    ),
    metadata=st.dictionaries(st.from_regex(r"[a-z]{1,20}", fullmatch=True), st.text(), max_size=10),
    scale=st.integers(1, 1_000),
)
def test_a_status_with_any_texts_fits_into_trailers(
    violations: list[FieldViolation], metadata: dict[str, str], scale: int
) -> None:
    long = {name: value * scale for name, value in metadata.items()}
    error = InternalError(violations, **{"request_id": "", **long})
    assert len(trailers_of(status_details(error, Language.KOREAN))) <= MAX_TRAILERS


def test_a_status_with_metadata_that_cannot_fit_keeps_its_reason() -> None:
    names = {f"name{number}": "x" for number in range(1_000)}
    status = status_details(InternalError((), request_id="7", **names), Language.KOREAN)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "INTERNAL_ERROR"
    assert len(trailers_of(status)) <= MAX_TRAILERS


def test_an_error_names_at_most_20_violations() -> None:
    error = InvalidField(*(FieldViolation(f"words[{n}]", "must be set") for n in range(1_000)))
    assert violations_of(error) == [(f"words[{n}]", "must be set") for n in range(MAX_VIOLATIONS)]


def test_twenty_ordinary_violations_are_not_shortened() -> None:
    problem = "must not be before the start of the previous word"
    ordinary = [FieldViolation(f"script.words[{n}].start_time", problem) for n in range(20)]
    expected = [(each.field, each.description) for each in ordinary]
    assert violations_of(InvalidField(*ordinary)) == expected


def test_long_fields_and_descriptions_of_violations_are_shortened() -> None:
    ((field, description),) = violations_of(InvalidField(FieldViolation("가" * 999, "나" * 999)))
    assert (field, description) == ("가" * 99 + "…", "나" * 199 + "…")

"""Every error has texts in both languages, and its status reveals nothing else."""

from __future__ import annotations

import re

import pytest
from google.rpc import error_details_pb2

import services.analysis.errors as analysis_errors
import services.catalog.errors as catalog_errors
import services.runtime.shared_errors as shared_errors
import services.upload.errors as upload_errors
from services.runtime.errors import FieldViolation, InvalidField, SoriError, status_details
from services.runtime.language import Language
from services.runtime.shared_errors import TokenNotFound

# Importing a service's errors registers them.
MODULES = (catalog_errors, upload_errors, analysis_errors, shared_errors)
CATALOGUE = SoriError.__subclasses__()


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

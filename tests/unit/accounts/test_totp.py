"""Codes of authenticator apps: the vectors of RFC 6238, drift, recovery codes."""

from __future__ import annotations

from base64 import b32decode
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts import totp

RFC_SECRET = b"12345678901234567890"
SECRETS = st.binary(min_size=totp.SECRET_BYTES, max_size=totp.SECRET_BYTES)
TIMES = st.integers(min_value=60, max_value=2**36)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert totp.code_at(RFC_SECRET, seconds // totp.STEP_SECONDS) == code


@given(SECRETS, TIMES, st.integers(-1, 1))
def test_a_code_is_accepted_one_step_early_and_late(secret: bytes, now: int, drift: int) -> None:
    step = now // totp.STEP_SECONDS + drift
    found = totp.matching_step(secret, totp.code_at(secret, step), now)
    assert found is not None
    assert totp.code_at(secret, found) == totp.code_at(secret, step)


@given(SECRETS, TIMES, st.sampled_from([-5, -2, 2, 5]))
def test_other_codes_are_refused(secret: bytes, now: int, drift: int) -> None:
    present = now // totp.STEP_SECONDS
    accepted = {totp.code_at(secret, present + each) for each in (-1, 0, 1)}
    code = totp.code_at(secret, max(present + drift, 0))
    assert (totp.matching_step(secret, code, now) is not None) == (code in accepted)


@given(SECRETS, TIMES, st.text(max_size=10))
def test_any_text_can_be_checked(secret: bytes, now: int, text: str) -> None:
    if not totp.is_app_code(text):
        assert totp.matching_step(secret, text, now) is None


def test_an_app_reads_the_secret_from_the_uri() -> None:
    uri = totp.enrollment_uri(RFC_SECRET, account="kim@example.com", issuer="Sori")
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/Sori:kim@example.com")
    (secret,) = parse_qs(parts.query)["secret"]
    assert b32decode(secret + "=" * (-len(secret) % 8)) == RFC_SECRET


def test_recovery_codes_differ() -> None:
    codes = totp.new_recovery_codes()
    assert len({totp.recovery_code_hash(code) for code in codes}) == totp.RECOVERY_CODES


def test_recovery_codes_differ_in_form_from_codes_of_the_app() -> None:
    assert not any(map(totp.is_app_code, totp.new_recovery_codes()))


def test_a_recovery_code_may_be_typed_in_upper_case_and_without_dashes() -> None:
    (code, *_) = totp.new_recovery_codes()
    typed = code.upper().replace("-", " ")
    assert totp.recovery_code_hash(typed) == totp.recovery_code_hash(code)

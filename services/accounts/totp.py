"""Time-based one-time passwords (RFC 6238), and recovery codes.

Authenticator apps implement only the defaults of the RFC: SHA-1, 6 digits, 30 seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b32encode
from urllib.parse import quote, urlencode

STEP_SECONDS = 30
DIGITS = 6
SECRET_BYTES = 20
DRIFT_STEPS = 1
"""A clock may be one step early or late (RFC 6238, 5.2)."""

RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_GROUP_LENGTH = 4
MAX_CODE_LENGTH = 32
"""Longer codes are wrong; this is more than a recovery code with its dashes has."""


def new_secret() -> bytes:
    """A random secret of SECRET_BYTES."""
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int) -> str:
    """The code of a time step."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def matching_step(secret: bytes, code: str, now: float) -> int | None:
    """The time step that a code belongs to; None if the code is wrong.

    now: Unix time in seconds. A step at most DRIFT_STEPS before or after that of `now` matches.
    A caller must accept each step only once, so that an observed code is worthless.
    """
    present = int(now) // STEP_SECONDS
    steps = range(max(present - DRIFT_STEPS, 0), present + DRIFT_STEPS + 1)
    # All codes are compared, so that the duration does not depend on which one matches.
    matching = [
        step for step in steps if hmac.compare_digest(code_at(secret, step).encode(), code.encode())
    ]
    return max(matching, default=None)


def secret_text(secret: bytes) -> str:
    """The secret in base32, as people type it into an app."""
    return b32encode(secret).decode().rstrip("=")


def enrollment_uri(secret: bytes, *, account: str, issuer: str) -> str:
    """The `otpauth://` URI for a QR code.

    account: the name of the account in the app, such as its e-mail address. issuer: the name
    of the product.
    """
    label = quote(f"{issuer}:{account}", safe=":@")
    return f"otpauth://totp/{label}?" + urlencode({"secret": secret_text(secret), "issuer": issuer})


def new_recovery_codes() -> list[str]:
    """RECOVERY_CODES random codes of 80 bits, such as "k3jw-7x2c-…"."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def _recovery_code() -> str:
    text = b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(
        text[start : start + _GROUP_LENGTH] for start in range(0, len(text), _GROUP_LENGTH)
    )


def recovery_code_hash(code: str) -> bytes:
    """The hash that is stored of a recovery code. Case, dashes and spaces make no difference.

    A plain hash is enough: 80 random bits can't be guessed.
    """
    plain = code.replace("-", "").replace(" ", "").lower()
    return hashlib.sha256(plain.encode()).digest()


def is_app_code(code: str) -> bool:
    """Whether a text has the form of an app's code; others may be recovery codes."""
    return len(code) == DIGITS and code.isascii() and code.isdigit()

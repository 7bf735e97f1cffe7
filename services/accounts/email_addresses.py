"""E-mail addresses: validation and normalisation. Pure.

An address is ASCII: a dot-atom of RFC 5322, "@", and a host name with at least two labels, in
punycode if it is international. Quoted local parts, comments and address literals are refused:
no provider of mailboxes uses them, and without them an address contains no character that has a
meaning in the header of a mail.
"""

from __future__ import annotations

import re

from services.runtime.errors import FieldViolation, InvalidField

MAX_LENGTH = 254
"""The longest address that fits into SMTP's path of 256 octets (RFC 5321, erratum 1690)."""
MAX_LOCAL_LENGTH = 64

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_TOP_LABEL = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
_ADDRESS = re.compile(
    rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>(?:{_LABEL}\.)+{_TOP_LABEL})", re.ASCII
)


def email_of(text: str, field: str = "email") -> str:
    """The address in lower case, without surrounding spaces.

    field: of the request, for the error. Errors: InvalidField.
    """
    # The pattern runs only on text within the limit.
    if len(text) > MAX_LENGTH:
        raise InvalidField(FieldViolation(field, f"must have at most {MAX_LENGTH} characters"))
    address = text.strip(" ").lower()
    # The lower case of some letters outside ASCII, such as the Kelvin sign, is in ASCII.
    match = _ADDRESS.fullmatch(address) if text.isascii() else None
    if match is None or len(match["local"]) > MAX_LOCAL_LENGTH:
        raise InvalidField(
            FieldViolation(field, "must be an e-mail address, such as name@example.com")
        )
    return address


def domain_of(address: str) -> str:
    """The part after the "@" of an address that `email_of` returned."""
    return address.rpartition("@")[2]


def local_part_of(address: str) -> str:
    """The part before the "@" of an address that `email_of` returned."""
    return address.rpartition("@")[0]

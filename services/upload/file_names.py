"""File names in forms: how a browser or an older program names the file it sends. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import unquote

from multipart import MultipartSegment, parse_content_disposition

HEADER_CHARSET = "latin-1"
"""Maps each byte to one character, so that the parser accepts and keeps headers in any charset."""

_QUOTED = re.compile('"[^"]*"')
_EXTENDED_NAME = re.compile(r"; *filename\* *= *([^; ]+)", re.IGNORECASE)

_ANY, _KANA = re.compile(""), re.compile("[\u3040-\u30ff]")
_CHARSETS = (("utf-8", _ANY), ("euc-kr", _ANY), ("cp932", _KANA), ("cp949", _ANY))
"""Charsets in the order of trial, each with what its text must have: Western and Korean text
may be valid Japanese by accident, but hardly with kana."""


def file_name_of(part: MultipartSegment) -> str | None:
    """The file name of a part; None if the part is not a file.

    `filename*` (RFC 5987) precedes `filename`: programs send both for the sake of old servers.
    """
    header = decoded(part.header("Content-Disposition", "").encode(HEADER_CHARSET))
    name = parse_content_disposition(header)[2]
    extended = _EXTENDED_NAME.search(_QUOTED.sub("", header))
    return name if extended is None else _extended_value(extended[1], name)


def decoded(raw: bytes) -> str:
    """The text of a header: UTF-8, or an older Korean, Japanese or Western charset.

    The charset is a guess, so use the text for display only.
    """
    for charset, typical in _CHARSETS:
        with suppress(UnicodeDecodeError):
            text = raw.decode(charset)
            if typical.search(text):
                return text
    return raw.decode("cp1252", errors="replace")


def _extended_value(text: str, otherwise: str | None) -> str | None:
    """The text of `charset'language'percent-encoded`; `otherwise` if it has another form."""
    charset, quote, rest = text.partition("'")
    _, second_quote, value = rest.partition("'")
    if not quote or not second_quote:
        return otherwise
    try:
        return unquote(value, encoding=charset or "utf-8", errors="replace")
    except LookupError:
        return otherwise

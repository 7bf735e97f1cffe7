"""The page to which a provider login returns: an own page, or one of an allowed origin.

Other pages are refused, because an attacker could lead people there (open redirect).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

MAX_LENGTH = 2000
"""After percent-encoding. Browsers store cookies of at most 4096 bytes."""
_URL_CHARACTERS = "%/:?#[]@!$&'()*+,;=~-._"
_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """The origin of an HTTP URL, such as "https://app.example.com"; empty if it has none.

    A URL with a user has none: "https://app.example.com@evil.example" misleads people.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return ""
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return ""
    default = port == _PORTS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" if default else f"{parts.scheme}://{host}:{port}"


def safe_return_to(return_to: str, allowed_origins: Iterable[str]) -> str | None:
    """The page in ASCII, if it is a path of this host or has an allowed origin; else None.

    An empty text is the path "/". allowed_origins: as `origin_of` returns them.
    """
    if len(return_to) > MAX_LENGTH:
        return None
    # Browsers drop control characters and white space, and read a backslash as a slash.
    if any(character <= " " or character in "\\\x7f" for character in return_to):
        return None
    url = quote(return_to or "/", safe=_URL_CHARACTERS)
    if len(url) > MAX_LENGTH:
        return None
    if url.startswith("/"):
        return None if url.startswith("//") else url
    return url if origin_of(url) in set(allowed_origins) - {""} else None


def with_parameter(url: str, name: str, value: str) -> str:
    """The URL with one more query parameter."""
    scheme, host, path, query, fragment = urlsplit(url)
    added = urlencode({name: value})
    return urlunsplit((scheme, host, path, f"{query}&{added}" if query else added, fragment))

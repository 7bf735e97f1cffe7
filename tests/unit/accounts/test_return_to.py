"""Pages to return to after a login: own ones and those of allowed origins, no others."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.return_to import origin_of, safe_return_to, with_parameter

HOST = "https://sori.example"
ALLOWED = (HOST, "https://app.example.com", "http://localhost:3000")


@pytest.mark.parametrize(
    ("page", "result"),
    [
        ("", "/"),
        ("/practice?token=3#top", "/practice?token=3#top"),
        ("/연습", "/%EC%97%B0%EC%8A%B5"),
        ("/a//b", "/a//b"),
        ("/?next=https://evil.example", "/?next=https://evil.example"),
        ("https://app.example.com/done", "https://app.example.com/done"),
        ("https://app.example.com:443/", "https://app.example.com:443/"),
        ("HTTPS://APP.EXAMPLE.COM/", "HTTPS://APP.EXAMPLE.COM/"),
        ("http://localhost:3000/", "http://localhost:3000/"),
    ],
)
def test_own_pages_and_allowed_origins_are_accepted(page: str, result: str) -> None:
    assert safe_return_to(page, ALLOWED) == result


@pytest.mark.parametrize(
    "page",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/\n/evil.example",
        "/%0d\r\nSet-Cookie: a=b",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "https://app.example.com@evil.example",
        "https://app.example.com:pass@evil.example",
        "https://app.example.com\\@evil.example",
        "https://app.example.com.evil.example",
        "https://evil.example#https://app.example.com",
        "https://app.example.com／@evil.example",
        "https://app。example。com.evil.example",
        "https://app.example.com:8443/",
        "http://app.example.com/",
        "javascript:alert(1)",
        "data:text/html,hello",
        "evil.example",
        "https://[::1",
        "https://app.example.com:99999/",
        "/" + "a" * 2000,
        "/" + "가" * 300,
    ],
)
def test_foreign_pages_are_refused(page: str) -> None:
    assert safe_return_to(page, ALLOWED) is None


@given(st.text(alphabet="/\\ht ps:.@#?%\t\nevil0-9[]", max_size=30) | st.text(max_size=30))
def test_no_accepted_page_leaves_the_allowed_origins(page: str) -> None:
    accepted = safe_return_to(page, ALLOWED)
    if accepted is not None:
        assert accepted.isascii()
        assert origin_of(urljoin(HOST + "/auth/x/callback", accepted)) in ALLOWED


@given(st.sampled_from(["/a", "/a?b=c", "/a?b=c#d", "https://app.example.com/?x=1#y"]))
def test_a_parameter_is_added_before_the_fragment(url: str) -> None:
    added = urlsplit(with_parameter(url, "login_error", "access_denied"))
    plain = urlsplit(url)
    assert added.fragment == plain.fragment
    assert added.query.split("&")[-1] == "login_error=access_denied"
    assert added.query.startswith(plain.query)

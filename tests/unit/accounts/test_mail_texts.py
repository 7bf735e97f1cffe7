"""The texts of mails."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from services.accounts.mail_texts import Kind, mail_text
from services.runtime.language import Language

LINK = "https://app.example.com/verify-email?a=1&b=2#token=abc"
WITH_LINK = [Kind.VERIFY_EMAIL, Kind.ACCOUNT_EXISTS, Kind.RESET_PASSWORD, Kind.CHANGE_EMAIL]
ALL = [(kind, language) for kind in Kind for language in Language]


class Page(HTMLParser):
    """Collects what a mail program shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", WITH_LINK)
def test_text_and_html_have_the_link(kind: Kind, language: Language) -> None:
    text = mail_text(kind, language, LINK)
    assert f"{LINK}\n" in text.text
    assert set(Page(text.html).links) == {LINK}


@pytest.mark.parametrize(("kind", "language"), ALL)
def test_text_and_html_say_the_same(kind: Kind, language: Language) -> None:
    text = mail_text(kind, language, LINK)
    shown = Page(text.html).text
    for line in text.text.splitlines():
        assert line.removesuffix(":") in shown


@pytest.mark.parametrize(("kind", "language"), ALL)
def test_the_subject_is_one_line_in_the_language(kind: Kind, language: Language) -> None:
    subject = mail_text(kind, language, LINK).subject
    assert subject == subject.strip()
    assert "\n" not in subject
    assert subject.isascii() is (language is Language.ENGLISH)

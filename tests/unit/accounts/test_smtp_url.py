"""The setting SMTP_URL."""

from __future__ import annotations

import pytest

from services.accounts.smtp_url import SmtpUrl


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("smtp://localhost:15025", SmtpUrl("localhost", 15025)),
        ("smtp://mail.example.com", SmtpUrl("mail.example.com", 25)),
        (
            "smtp+starttls://me:p%40ss@mail.example.com",
            SmtpUrl("mail.example.com", 587, starttls=True, user="me", password="p@ss"),
        ),
        (
            "smtps://me%40example.com:secret@mail.example.com:2465/",
            SmtpUrl(
                "mail.example.com",
                2465,
                tls=True,
                starttls=False,
                user="me@example.com",
                password="secret",
            ),
        ),
        ("smtp://[::1]:25", SmtpUrl("::1", 25)),
    ],
)
def test_urls_of_mail_servers(text: str, url: SmtpUrl) -> None:
    assert SmtpUrl.parse(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "mail.example.com:25",
        "http://mail.example.com",
        "smtp://",
        "smtp://host/path",
        "smtp://host?starttls=no",
        "smtp://host:99999",
        "smtp://me:secret@mail.example.com",
    ],
)
def test_an_unusable_url_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        SmtpUrl.parse(text)
    assert "secret" not in str(caught.value)


def test_the_password_is_not_in_logs() -> None:
    assert "secret" not in repr(SmtpUrl.parse("smtps://me:secret@mail.example.com"))

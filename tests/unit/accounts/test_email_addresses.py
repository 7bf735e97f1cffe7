"""Validation of e-mail addresses. No accepted address can change the header of a mail."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import getaddresses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.accounts.email_addresses import MAX_LENGTH, domain_of, email_of, local_part_of
from services.runtime.errors import InvalidField

ATOM = st.text("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20)
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
ADDRESS = st.builds(
    lambda atoms, labels, top: f"{'.'.join(atoms)}@{'.'.join(labels)}.{top}",
    st.lists(ATOM, min_size=1, max_size=3),
    st.lists(LABEL, min_size=1, max_size=4),
    st.from_regex(r"[a-z]{2,10}", fullmatch=True),
)


@given(ADDRESS)
def test_usual_addresses_are_accepted_unchanged(address: str) -> None:
    assert email_of(address) == address


@given(ADDRESS)
def test_case_and_surrounding_spaces_do_not_matter(address: str) -> None:
    assert email_of(f"  {address.upper()} ") == address


def accepted(text: str) -> str | None:
    try:
        return email_of(text)
    except InvalidField:
        return None


NEAR_ADDRESSES = st.text("aA.@-\"'<>(),;:\\ \t\r\n\0é가\u212a[]", max_size=30)


@given(st.one_of(st.text(), NEAR_ADDRESSES.map(lambda text: f"a{text}@example.com")))
@example("a@example.com\r\nBcc: b@example.com")
@example("a@example.com, b@example.com")
@example("a\n@example.com")
def test_an_accepted_address_is_one_recipient_and_one_header(text: str) -> None:
    address = accepted(text)
    if address is None:
        return
    message = EmailMessage(SMTP)
    message["To"] = address
    assert getaddresses([str(message["To"])]) == [("", address)]
    assert bytes(message).decode("ascii") == f"To: {address}\r\n\r\n"


@given(st.one_of(st.text(), NEAR_ADDRESSES.map(lambda text: f"a{text}@example.com")))
def test_an_accepted_address_is_its_own_normal_form(text: str) -> None:
    address = accepted(text)
    assert address is None or email_of(address) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@example.com",
        "a@localhost",
        "a@example",
        "a@example.c",
        "a@example.123",
        "a@-example.com",
        "a@example-.com",
        "a@example..com",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
        "a b@example.com",
        "a@b@example.com",
        '"a b"@example.com',
        "a@[192.0.2.1]",
        "Kim <a@example.com>",
        "a@example.com\n",
        "a@example.com\0",
        "가@example.com",
        "a@소리.com",
        "\u212aim@example.com",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 64}.com",
        f"a@{'b.' * 130}com",
    ],
)
def test_an_address_that_no_mailbox_has_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="email: must"):
        email_of(text)


def test_the_longest_address_is_accepted() -> None:
    domain = f"{'b' * 62}.{'c' * 62}.{'d' * 59}.com"
    address = f"{'a' * 64}@{domain}"
    assert len(address) == MAX_LENGTH
    assert email_of(address) == address


def test_a_long_text_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InvalidField, match="at most 254 characters"):
        email_of("a" * 1_000_000)


def test_an_address_has_two_parts() -> None:
    address = "kim.sori+take@mail.example.com"
    assert (local_part_of(address), domain_of(address)) == ("kim.sori+take", "mail.example.com")

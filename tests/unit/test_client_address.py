"""Addresses of clients as keys of limits."""

from __future__ import annotations

import pytest

from services.runtime.client_address import UNKNOWN, key_of, peer_address


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("", UNKNOWN),
        ("not an address", UNKNOWN),
    ],
)
def test_all_addresses_of_a_client_have_one_key(address: str, key: str) -> None:
    assert key_of(address) == key


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:50051", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:50051", "2001:db8::1"),
        ("ipv6:[::1]:50051", "::1"),
        ("unix:", ""),
        ("", ""),
    ],
)
def test_the_address_of_a_peer_is_found(peer: str, address: str) -> None:
    assert peer_address(peer) == address

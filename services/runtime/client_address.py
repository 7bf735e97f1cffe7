"""The network address of a call's client, for limits per client.

The gateway sets it in a header that clients can't forge. A caller that reaches a service
without the gateway is trusted, so its header is believed as well.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

from services.runtime.interceptors import Context, call_metadata

CLIENT_ADDRESS = "x-envoy-external-address"
UNKNOWN = "unknown"
IPV6_PREFIX_BITS = 64
"""A client owns at least a /64 of IPv6, so all its addresses count as one client."""


def client_key(context: Context) -> str:
    """The client's IPv4 address or IPv6 network, as the key of limits per client.

    "unknown" for callers without an address, such as those on a Unix socket.
    """
    return key_of(call_metadata(context).get(CLIENT_ADDRESS) or peer_address(context.peer()))


def key_of(address: str) -> str:
    """The key of an address in its usual notation."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return UNKNOWN
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), IPV6_PREFIX_BITS), strict=False))


def peer_address(peer: str) -> str:
    """The address in gRPC's name of a peer, such as `ipv4:192.0.2.1:80` or `ipv6:[::1]:80`."""
    kind, _, address = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return address.rpartition(":")[0].strip("[]")

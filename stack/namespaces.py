"""A host for each program of a stack: Linux network namespaces on one bridge.

Each program has its own address, like a pod in Kubernetes, and the replicas of a service
share a DNS name, like those behind a headless Service. A host can be cut off and connected
again, and can move to another address. Needs root, Linux and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Network, ip_address
from itertools import count
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSServer

from stack.errors import StackError
from stack.hosts import Hosts
from stack.settings import service_of

_PREFIX = "sori"
_RESOLVERS = Path("/etc/netns")
# Reserved for network tests (RFC 2544). Each process uses a part of it.
_NETWORKS = tuple(IPv4Network("198.18.0.0/15").subnets(new_prefix=20))
_TTL_SECONDS = 1


class Network:
    """A bridge with a DNS server, while the context lasts; one per process."""

    def __init__(self) -> None:
        self._bridge = f"{_PREFIX}-{os.getpid()}"
        # This machine's end of the virtual cable to the bridge.
        self._cable = f"{_PREFIX}{os.getpid()}"
        self._network = _NETWORKS[os.getpid() % len(_NETWORKS)]
        self._free = self._network.hosts()
        self._names = _Names()
        self._dns: DNSServer | None = None
        self.address = self.free_address()
        self.range = str(self._network)

    def __enter__(self) -> Self:
        _remove_orphans()
        _ip("netns", "add", self._bridge)
        _ip("-n", self._bridge, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._bridge, "link", "set", "bridge", "up")
        _ip(
            "link",
            "add",
            self._cable,
            "type",
            "veth",
            "peer",
            "name",
            "outside",
            "netns",
            self._bridge,
        )
        _ip("addr", "add", self.with_length(self.address), "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        self.connect("outside")
        self._dns = DNSServer(self._names, address=self.address, port=53, logger=_NoLog())
        self._dns.start_thread()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._dns is not None:
            self._dns.stop()
            self._dns.server.server_close()
        # Without this, the kernel removes it only some time after the namespace.
        _ip("link", "delete", self._cable)
        _ip("netns", "delete", self._bridge)

    def hosts(self) -> Namespaces:
        """Hosts for a stack."""
        return Namespaces(self, self._bridge, self._names, f"{next(_stacks)}.stack")

    def free_address(self) -> str:
        """An address that no host has used."""
        return str(next(self._free))

    def with_length(self, address: str) -> str:
        """The address with its prefix length, in the syntax of `ip`."""
        return f"{address}/{self._network.prefixlen}"

    def connect(self, port: str) -> None:
        """Connect the bridge's end of a cable."""
        _ip("-n", self._bridge, "link", "set", port, "master", "bridge", "up")

    def disconnect(self, port: str) -> None:
        """Disconnect the bridge's end of a cable: packets are lost silently."""
        _ip("-n", self._bridge, "link", "set", port, "nomaster")


_stacks = count(1)


class Namespaces(Hosts):
    """The hosts of one stack: one per program."""

    bind = "0.0.0.0"  # noqa: S104 (inside a namespace)
    shares_ports = False

    def __init__(self, network: Network, bridge: str, names: _Names, domain: str) -> None:
        self._network = network
        self._bridge = bridge
        self._names = names
        self._domain = domain
        self._addresses: dict[str, str] = {}
        self._ports: dict[str, str] = {}
        self.outside = network.address
        self.network = network.range

    def open(self, programs: Sequence[str]) -> None:
        """Create a host for each program."""
        for program in programs:
            self._create(program)

    def close(self) -> None:
        """Remove the hosts."""
        for program in list(self._addresses):
            self._names.remove(self._name(program), self._addresses.pop(program))
            _remove(self._namespace(program))

    def address(self, program: str) -> str:
        """The address of a program's host."""
        return self._addresses[program]

    def command(self, program: str, command: list[str]) -> list[str]:
        """The command that runs a program in its namespace."""
        return ["ip", "netns", "exec", self._namespace(program), *command]

    def target(self, service: str, addresses: Sequence[str]) -> str:
        """The service's DNS name and port."""
        return f"{service}:{addresses[0].rpartition(':')[2]}"

    upstream = target

    def cut(self, program: str) -> None:
        """Cut a host off: packets from and to it are lost silently."""
        self._network.disconnect(self._ports[program])

    def heal(self, program: str) -> None:
        """Connect a host again that was cut off."""
        self._network.connect(self._ports[program])

    def move(self, program: str) -> None:
        """Give a host another address, as a pod that replaces another has one."""
        before, now = self._addresses[program], self._network.free_address()
        namespace = self._namespace(program)
        _ip("-n", namespace, "addr", "flush", "dev", "eth0")
        _ip("-n", namespace, "addr", "add", self._network.with_length(now), "dev", "eth0")
        self._addresses[program] = now
        self._names.remove(self._name(program), before)
        self._names.add(self._name(program), now)

    def _create(self, program: str) -> None:
        namespace, address = self._namespace(program), self._network.free_address()
        # The name of an interface has at most 15 characters.
        port = f"p{int(ip_address(address))}"
        resolver = _RESOLVERS / namespace / "resolv.conf"
        resolver.parent.mkdir(parents=True)
        resolver.write_text(f"nameserver {self._network.address}\nsearch {self._domain}\n")
        _ip("netns", "add", namespace)
        self._addresses[program], self._ports[program] = address, port
        cable = ("eth0", "type", "veth", "peer", "name", port, "netns", self._bridge)
        _ip("-n", namespace, "link", "add", *cable)
        _ip("-n", namespace, "addr", "add", self._network.with_length(address), "dev", "eth0")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        self._network.connect(port)
        self._names.add(self._name(program), address)

    def _namespace(self, program: str) -> str:
        return f"{self._bridge}-{self._domain}-{program}"

    def _name(self, program: str) -> str:
        """The DNS name of a program; workers don't share the name of their service."""
        name = program if "worker" in program else service_of(program)
        return f"{name}.{self._domain}"


class _Names(BaseResolver):  # type: ignore[misc]
    """The addresses of each name, for the DNS server."""

    def __init__(self) -> None:
        self._addresses: dict[str, list[str]] = {}
        self._lock = Lock()

    def add(self, name: str, address: str) -> None:
        """Add an address to a name."""
        with self._lock:
            self._addresses.setdefault(name, []).append(address)

    def remove(self, name: str, address: str) -> None:
        """Remove an address from a name."""
        with self._lock:
            self._addresses[name].remove(address)

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:  # noqa: ARG002
        """Answer a DNS request."""
        reply = request.reply()
        with self._lock:
            found = list(self._addresses.get(str(request.q.qname).rstrip("."), ()))
        if request.q.qtype == QTYPE.A:
            for address in found:
                reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(address), ttl=_TTL_SECONDS))
        if not found:
            reply.header.rcode = 3  # NXDOMAIN
        return reply


class _NoLog:
    """A logger for the DNS server that discards everything."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def reason_to_skip() -> str:
    """Why this machine allows no network namespaces; empty if it does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "`ip` (iproute2) is missing"
    try:
        with Network():
            return ""
    except (StackError, OSError) as error:
        return f"this kernel or container does not allow network namespaces: {error}"


def _remove_orphans() -> None:
    """Remove the namespaces of processes that died without doing so."""
    for name in _ip("netns", "list").splitlines():
        namespace = name.split()[0]
        owner = namespace.removeprefix(f"{_PREFIX}-").partition("-")[0]
        is_ours = namespace.startswith(f"{_PREFIX}-") and owner.isdigit()
        if is_ours and not Path(f"/proc/{owner}").exists():
            _remove(namespace)


def _remove(namespace: str) -> None:
    _ip("netns", "delete", namespace)
    shutil.rmtree(_RESOLVERS / namespace, ignore_errors=True)
    with suppress(OSError):
        _RESOLVERS.rmdir()


def _ip(*arguments: str) -> str:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise StackError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout

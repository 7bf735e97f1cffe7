"""Where the programs of a stack run: by default all of them on this machine's loopback."""

from __future__ import annotations

from collections.abc import Sequence


class Hosts:
    """One host for all programs: the loopback interface.

    bind: the address that programs listen on.
    outside: the address at which programs reach whoever started the stack.
    network: the addresses that programs call from.
    """

    bind = "127.0.0.1"
    outside = "127.0.0.1"
    network = "127.0.0.1/32"
    shares_ports = True
    """Whether two programs can't listen on the same port."""

    def open(self, programs: Sequence[str]) -> None:
        """Make room for the programs."""

    def close(self) -> None:
        """Leave nothing behind."""

    def address(self, program: str) -> str:
        """The address at which a program is reached."""
        return self.bind

    def command(self, program: str, command: list[str]) -> list[str]:
        """The command that runs a program on its host."""
        return command

    def target(self, service: str, addresses: Sequence[str]) -> str:
        """What gRPC takes for all replicas of a service."""
        return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"

    def upstream(self, service: str, addresses: Sequence[str]) -> str:
        """What the gateway takes for them."""
        return ",".join(addresses)

"""The hosts of a stack's programs: by default this machine's loopback interface."""

from __future__ import annotations

from collections.abc import Sequence


class Hosts:
    """One host for all programs: the loopback interface.

    bind: the address on which programs listen.
    outside: the address at which programs reach the process that started the stack.
    network: the addresses from which programs call.
    """

    bind = "127.0.0.1"
    outside = "127.0.0.1"
    network = "127.0.0.1/32"
    shares_ports = True
    """Whether programs share one address, so that each needs a port of its own."""

    def open(self, programs: Sequence[str]) -> None:
        """Create the hosts of the programs."""

    def close(self) -> None:
        """Remove the hosts."""

    def address(self, program: str) -> str:
        """The address at which a program is reached."""
        return self.bind

    def command(self, program: str, command: list[str]) -> list[str]:
        """The command that runs a program on its host."""
        return command

    def target(self, service: str, addresses: Sequence[str]) -> str:
        """The target of all replicas of a service, in gRPC's syntax."""
        return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"

    def upstream(self, service: str, addresses: Sequence[str]) -> str:
        """The replicas of a service, in the syntax of the gateway's settings."""
        return ",".join(addresses)

"""Readiness: whether each program of a stack does its work, and waiting until it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from services.registry import BY_NAME
from stack import probes
from stack.addresses import Addresses
from stack.errors import StackError
from stack.gateways import admin_socket
from stack.logs import Logs
from stack.settings import service_of
from stack.supervision import Supervisor

READY_SECONDS = 120.0
_PAUSE_SECONDS = 0.05


class Readiness:
    """Probes the programs of a stack."""

    def __init__(
        self, addresses: Addresses, supervisor: Supervisor, logs: Logs, runtime: Path
    ) -> None:
        """Create the probes. runtime: the folder with the configurations of the gateways."""
        self._addresses = addresses
        self._runtime = runtime
        self._supervisor = supervisor
        self._logs = logs

    def is_ready(self, name: str) -> bool:
        """Whether a program does its work now."""
        return _passes(self._probe(name))

    def wait_ready(self, name: str, timeout_seconds: float) -> None:
        """Wait until a program does its work. Errors: StackError after the timeout."""
        if not wait_until(partial(self.is_ready, name), timeout_seconds):
            raise StackError(
                f"{name} is not ready after {timeout_seconds:g} s.\n{self._logs.tail(name)}"
            )

    def wait_routed(self, name: str, timeout_seconds: float) -> None:
        """Wait until the running gateways send calls to a service's replica."""
        service, settings = service_of(name), self._addresses.settings
        if name not in settings.replicas.get(service, ()):
            return
        for gateway in settings.gateways:
            if not self._supervisor.has(gateway) or self._supervisor.pid(gateway) is None:
                continue
            admin = admin_socket(self._runtime, gateway)
            probe = partial(probes.routed, admin, service, self._addresses.address(name))
            if not wait_until(partial(_passes, probe), timeout_seconds):
                raise StackError(
                    f"{gateway} does not see {name} as healthy after {timeout_seconds:g} s."
                )

    def wait_started(self, names: Iterable[str], report: Callable[[str], None]) -> None:
        """Wait until programs that were just started are ready.

        report: called often with the names of the programs that are not ready.

        Errors: StackError if a program exits, or is not ready after a minute.
        """
        waiting = list(names)
        deadline = time.monotonic() + READY_SECONDS
        with ThreadPoolExecutor(max(1, len(waiting))) as executor:
            while waiting:
                report(f"waiting for {', '.join(waiting)}")
                ready = executor.map(self.is_ready, waiting)
                waiting = [
                    name for name, is_ready in zip(waiting, ready, strict=True) if not is_ready
                ]
                for name in waiting:
                    if self._supervisor.state(name) in ("BACKOFF", "EXITED", "FATAL"):
                        raise StackError(f"{name} does not start.\n{self._logs.tail(name)}")
                if waiting and time.monotonic() > deadline:
                    name = waiting[0]
                    raise StackError(f"{name} does not become ready.\n{self._logs.tail(name)}")
                time.sleep(_PAUSE_SECONDS)

    def _probe(self, name: str) -> probes.Probe:
        addresses, settings = self._addresses, self._addresses.settings
        match service_of(name):
            case "postgres":
                place = f"{addresses.hosts.address(name)}:{settings.postgres_port}"
                return partial(probes.postgres, f"postgresql://sori@{place}/sori")
            case "s3":
                return partial(probes.s3, addresses.local_s3)
            case "mail":
                place = f"{addresses.hosts.address(name)}:{settings.mail_sink_port}"
                return partial(probes.smtp, place)
            case "analyzer":
                return partial(probes.http, f"{addresses.analyzer_url}/healthz")
            case "gateway" if name != addresses.entrance:
                place = f"{addresses.hosts.address(name)}:{settings.gateway_ports[name].clients}"
                return partial(probes.http, f"{addresses.scheme}://{place}/healthz")
            case "gateway" | "balancer":
                return partial(probes.http, f"{addresses.gateway_url}/healthz")
            case service:
                channel = partial(addresses.channel, name)
                return partial(probes.grpc_service, channel, BY_NAME[service].health_name)


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Poll a condition; returns whether it became true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


def _passes(probe: probes.Probe) -> bool:
    try:
        probe()
    except Exception:
        return False
    return True

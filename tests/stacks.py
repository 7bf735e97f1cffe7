"""Stacks for tests: on loopback, or with SORI_TEST_CLUSTER=1 on separate hosts.

In a cluster, every service and the gateway run at least twice, each in a network namespace.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from stack.namespaces import Network
from stack.stack import Stack
from tests.databases import copy_database

ON_CLUSTER = os.environ.get("SORI_TEST_CLUSTER") == "1"

ANONYMOUS_ROLES = "catalog_editor operator"
"""The roles of callers without credentials, unless a test sets others."""


def new_stack(
    folder: Path,
    environment: Mapping[str, str],
    *,
    without: Collection[str] = (),
    durable: bool = False,
    replicas: int = 1,
    analysis_workers: int = 0,
) -> Stack:
    """A stack that the caller enters; the arguments are those of `Stack.on_free_ports`.

    Callers without credentials have ANONYMOUS_ROLES, unless `environment` says otherwise.
    """
    if "postgres" not in without:
        copy_database(folder)
    return Stack.on_free_ports(
        folder,
        {"GATEWAY_ANONYMOUS_ROLES": ANONYMOUS_ROLES, **environment},
        without=without,
        durable=durable,
        replicas=max(2, replicas) if ON_CLUSTER else replicas,
        analysis_workers=analysis_workers,
        gateways=2 if ON_CLUSTER else 1,
        hosts=network().hosts() if ON_CLUSTER else None,
    )


def outside() -> str:
    """The address at which a stack's programs reach the servers of a test."""
    return network().address if ON_CLUSTER else "127.0.0.1"


@cache
def network() -> Network:
    """The network of all clusters of this process; removed when the process ends."""
    network = Network()
    network.__enter__()
    atexit.register(network.__exit__, None, None, None)
    return network

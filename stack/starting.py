"""The start of a stack's programs, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.registry import MIGRATED_SERVICES
from stack import postgres
from stack.addresses import Addresses
from stack.migration import are_at_heads
from stack.readiness import Readiness
from stack.settings import service_of
from stack.supervision import Supervisor


def start_programs(
    addresses: Addresses,
    programs: Sequence[str],
    supervisor: Supervisor,
    readiness: Readiness,
    migrate: Callable[[], None],
    report: Callable[[str], None],
) -> None:
    """Start programs and wait until they are ready.

    Those that own a schema start only when it is migrated.
    report: called often with a short description of the current step.
    """
    on_schema = [name for name in programs if service_of(name) in MIGRATED_SERVICES]
    for name in programs:
        if name != "postgres" and name not in on_schema:
            supervisor.start(name)
    has_postgres = "postgres" in programs
    if has_postgres:
        report("preparing PostgreSQL")
        postgres.prepare(addresses.data_dir / "postgres", addresses.hosts.network)
        supervisor.start("postgres")
        readiness.wait_started(["postgres"], report)
    if not (has_postgres and are_at_heads(addresses.environment["DATABASE_URL"])):
        migrate()
    for name in on_schema:
        supervisor.start(name)
    readiness.wait_started(programs, report)

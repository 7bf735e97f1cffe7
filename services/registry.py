"""The gRPC services of the suite: the one list that everything else reads.

The local stack, the gateway, the migrations, the image check and the tests take names from
here. Kubernetes manifests and shell scripts can't; `tests/unit/test_registry.py` compares
them with this list. Only the standard library is imported, so that the gateway's image can
read it without the services.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """One gRPC service.

    name: of its package in `services`, its schema, its program and its cluster in Envoy.
    public: full names of its proto services that the gateway exposes. Its health is checked
        by the first of them.
    internal: full names of its proto services that only other services call.
    has_schema: whether it owns a schema in PostgreSQL, with migrations.
    roles: what `--role` accepts besides "both"; empty if all its replicas do the same work.
    """

    name: str
    public: tuple[str, ...]
    internal: tuple[str, ...] = ()
    has_schema: bool = True
    roles: tuple[str, ...] = ()

    @property
    def proto_services(self) -> tuple[str, ...]:
        """Full names of all its proto services."""
        return self.public + self.internal

    @property
    def health_name(self) -> str:
        """The name that health checks ask for."""
        return self.public[0]

    @property
    def programs(self) -> tuple[str, ...]:
        """Its kinds of programs in the local stack; workers may run apart from its replicas."""
        return (self.name, f"{self.name}-worker") if "worker" in self.roles else (self.name,)

    @property
    def deployments(self) -> tuple[str, ...]:
        """Its Deployments in Kubernetes: one for each role."""
        return tuple(f"{self.name}-{role}" for role in self.roles) or (self.name,)


CATALOG = Service("catalog", ("sori.catalog.v1.CatalogService",))
UPLOAD = Service(
    "upload",
    ("sori.upload.v1.UploadService", "sori.upload.v1.TusService"),
    internal=("sori.upload.v1.UploadOwnerService",),
)
ANALYSIS = Service(
    "analysis",
    ("sori.analysis.v1.AnalysisService",),
    internal=("sori.analysis.v1.AnalysisIntakeService", "sori.analysis.v1.AnalysisOwnerService"),
    roles=("api", "worker"),
)

ACCOUNTS = Service(
    "accounts",
    ("sori.accounts.v1.AccountService", "sori.accounts.v1.AccountAdminService"),
    internal=("sori.accounts.v1.AccountPictureService",),
)

SERVICES = (CATALOG, UPLOAD, ANALYSIS, ACCOUNTS)

BY_NAME = {service.name: service for service in SERVICES}

SERVICE_NAMES = tuple(BY_NAME)

MIGRATED_SERVICES = tuple(service.name for service in SERVICES if service.has_schema)
"""Names of the services that own a schema."""

PROGRAMS = tuple(program for service in SERVICES for program in service.programs)
"""Every kind of program of the services in the local stack."""

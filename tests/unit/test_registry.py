"""The registry lists the services that exist, and files that can't read it agree with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from services.registry import MIGRATED_SERVICES, SERVICE_NAMES, SERVICES, Service
from stack.settings import StackSettings, port_variable
from stack.up import PURPOSES

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


def text_of(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def declared() -> set[str]:
    """Full names of all proto services of the contract."""
    files = FileDescriptorSet.FromString((ROOT / "build" / "sori.binpb").read_bytes()).file
    return {
        f"{file.package}.{service.name}"
        for file in files
        if file.package.startswith("sori.")
        for service in file.service
    }


def test_every_proto_service_belongs_to_one_service() -> None:
    listed = [name for service in SERVICES for name in service.proto_services]
    assert sorted(listed) == sorted(declared())


def test_every_service_that_serves_calls_is_listed() -> None:
    packages = {path.parent.name for path in (ROOT / "services").glob("*/servicer*")}
    assert packages == set(SERVICE_NAMES)


def test_every_service_with_migrations_is_listed() -> None:
    packages = {path.parent.name for path in (ROOT / "services").glob("*/alembic.ini")}
    assert packages == set(MIGRATED_SERVICES)


@every_service
def test_the_gateway_has_an_address_for_it(service: Service) -> None:
    assert f"{service.name}_address" in GatewaySettings.model_fields


def routed_prefixes(folder: Path) -> set[str]:
    configuration = write_configuration(GatewaySettings(), folder).read_text(encoding="utf-8")
    return set(re.findall(r"match: { prefix: /(sori[.][\w.]+)/", configuration))


def test_the_gateway_routes_public_proto_services_only(tmp_path: Path) -> None:
    public = {name for service in SERVICES for name in service.public}
    assert routed_prefixes(tmp_path) == public


@every_service
def test_the_stack_has_a_port_for_it(service: Service) -> None:
    assert {port_variable(program).lower() for program in service.programs} <= set(
        StackSettings.model_fields
    )


@every_service
def test_the_stack_describes_its_programs(service: Service) -> None:
    assert set(service.programs) <= PURPOSES.keys()


def test_kubernetes_runs_every_service() -> None:
    kustomization = yaml.safe_load(text_of("deploy", "k8s", "base", "kustomization.yaml"))
    deployments = {
        resource["metadata"]["name"]
        for file in kustomization["resources"]
        for resource in yaml.safe_load_all((K8S / "base" / file).read_text(encoding="utf-8"))
        if resource["kind"] == "Deployment"
    }
    listed = {name for service in SERVICES for name in service.deployments}
    assert deployments == listed | {"gateway"}


@pytest.mark.parametrize(
    ("file", "prefix"),
    [
        ("mtls/kustomization.yaml", "kind: Service, name: "),
        ("monitoring/alerts.yaml", 'envoy_cluster_name=~"'),
    ],
)
def test_patterns_of_manifests_match_every_service(file: str, prefix: str) -> None:
    pattern = re.escape(prefix) + r"([\w|-]+)"
    (found,) = re.findall(pattern, text_of("deploy", "k8s", "components", file))
    assert found.split("|") == list(SERVICE_NAMES)


def test_restore_replaces_every_schema() -> None:
    script = text_of("deploy", "scripts", "restore.sh")
    (dropped,) = re.findall(r"DROP SCHEMA IF EXISTS ([\w, ]+) CASCADE", script)
    (tables,) = re.findall(r"for table in ([\w. ]+);", script)
    assert dropped.split(", ") == list(MIGRATED_SERVICES)
    assert [table.partition(".")[0] for table in tables.split()] == list(MIGRATED_SERVICES)

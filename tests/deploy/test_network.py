"""Network policies allow exactly the connections that the programs need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.settings import GatewaySettings
from services.accounts.settings import AccountsSettings
from services.analysis.settings import AnalysisSettings
from services.catalog.settings import CatalogSettings
from services.registry import ANALYSIS, MIGRATED_SERVICES, SERVICES
from services.runtime.settings import DatabaseSettings
from services.upload.settings import UploadSettings
from tests.deploy.rendering import Pod, Rendering, Resource

# The settings by which a program finds the others that it calls. The two roles of analysis share
# their settings class, but the API role does not presign or dispatch.
CLIENTS = {
    "gateway": {
        *("CATALOG_ADDRESS", "UPLOAD_ADDRESS", "ANALYSIS_ADDRESS", "ACCOUNTS_ADDRESS"),
        "GATEWAY_ISSUERS",
    },
    "catalog": {"ANALYSIS_ADDRESS", "DATABASE_URL", "S3_BUCKET_NAME"},
    "upload": {
        *("CATALOG_ADDRESS", "ANALYSIS_ADDRESS", "ACCOUNTS_ADDRESS"),
        *("DATABASE_URL", "S3_BUCKET_NAME"),
    },
    "accounts": {
        *("ANALYSIS_ADDRESS", "UPLOAD_ADDRESS", "DATABASE_URL", "S3_BUCKET_NAME", "SMTP_URL"),
        "ACCOUNTS_PROVIDERS",
    },
    "analysis-api": {"DATABASE_URL"},
    "analysis-worker": {"CATALOG_ADDRESS", "DATABASE_URL", "S3_BUCKET_NAME", "TARGET_SERVER_URL"},
    **{f"migrate-{name}": {"DATABASE_URL"} for name in MIGRATED_SERVICES},
}
PROGRAMS: dict[type[BaseModel], tuple[str, ...]] = {
    GatewaySettings: ("gateway",),
    AccountsSettings: ("accounts",),
    CatalogSettings: ("catalog",),
    UploadSettings: ("upload",),
    AnalysisSettings: ANALYSIS.deployments,
    DatabaseSettings: tuple(f"migrate-{name}" for name in MIGRATED_SERVICES),
}
# The Deployment that serves a service's calls.
SERVICE_PODS = {service.name: service.deployments[0] for service in SERVICES}
NEEDS = {
    "DATABASE_URL": "sori-needs/database",
    "S3_BUCKET_NAME": "sori-needs/object-store",
    "TARGET_SERVER_URL": "sori-needs/analysis-server",
    "SMTP_URL": "sori-needs/mail",
    "ACCOUNTS_PROVIDERS": "sori-needs/identity-providers",
    "GATEWAY_ISSUERS": "sori-needs/identity-providers",
}


# Without them, a program calls no issuer.
OPTIONAL = {"GATEWAY_ISSUERS"}


def called(name: str) -> set[str]:
    """The pods that a program calls, from its settings `…_ADDRESS`."""
    return {
        SERVICE_PODS[setting.removesuffix("_ADDRESS").lower()]
        for setting in CLIENTS.get(name, ())
        if setting.endswith("_ADDRESS")
    }


def test_clients_lists_every_address_setting() -> None:
    for settings, names in PROGRAMS.items():
        addresses = {
            field.upper()
            for field in settings.model_fields
            if field.upper() in NEEDS
            or field.removesuffix("_address") in SERVICE_PODS.keys() - {field}
        }
        assert addresses == set().union(*(CLIENTS[name] for name in names))


def test_traffic_without_a_policy_is_denied(rendering: Rendering) -> None:
    denied = rendering.named("NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_policy_selects_a_pod(rendering: Rendering) -> None:
    for policy in rendering.of_kind("NetworkPolicy"):
        assert rendering.selected(selector(policy["spec"]["podSelector"]))


def test_pods_reach_only_the_services_that_they_call(rendering: Rendering) -> None:
    for pod in rendering.own_pods:
        if pod.name == "analyzer":
            continue
        reached = {
            target.name
            for peer, _ in peers(rendering, pod, "egress")
            for target in pods_of(rendering, peer)
        }
        assert reached & set(SERVICE_PODS.values()) == called(pod.name), pod


def test_only_callers_reach_a_service(rendering: Rendering) -> None:
    for target in SERVICE_PODS.values():
        callers = {
            source.name
            for peer, _ in peers(rendering, rendering.pod(target), "ingress")
            for source in pods_of(rendering, peer)
        }
        assert callers == {name for name in CLIENTS if target in called(name)}


def test_egress_and_ingress_agree_on_ports(rendering: Rendering) -> None:
    for source in rendering.own_pods:
        for peer, ports in peers(rendering, source, "egress"):
            for target in pods_of(rendering, peer):
                assert set(ports) <= set(target.ports.values())
                accepted = {
                    port
                    for back, their_ports in peers(rendering, target, "ingress")
                    if not back or source.name in {each.name for each in pods_of(rendering, back)}
                    for port in their_ports
                }
                assert set(ports) <= accepted, (source, target)


def test_labels_name_the_external_needs_of_a_program(rendering: Rendering) -> None:
    for name, settings in CLIENTS.items():
        pod = rendering.pod(name)
        given = rendering.environment(pod.container)
        wanted = {
            NEEDS[setting]
            for setting in settings & NEEDS.keys()
            if setting in given or setting not in OPTIONAL
        }
        assert {label for label in pod.labels if label.startswith("sori-needs/")} == wanted
        for label in wanted:
            assert [
                policy
                for policy in policies(rendering, pod, "egress")
                if selector(policy["spec"]["podSelector"]) == {label: "true"}
            ]


def test_production_accepts_only_tls_unless_its_name_says_otherwise(rendering: Rendering) -> None:
    if not rendering.name.startswith("production"):
        pytest.skip("for a trial inside one cluster")
    gateway = rendering.named("Service", "gateway")
    environment = rendering.environment(rendering.pod("gateway").container)
    has_certificate = bool(
        environment.get("GATEWAY_TLS_CERTIFICATE_FILE") and environment.get("GATEWAY_TLS_KEY_FILE")
    )
    assert has_certificate != ("plain-http" in rendering.name)
    port = {"name": "https", "port": 443} if has_certificate else {"name": "http", "port": 80}
    assert [port.items() <= each.items() for each in gateway["spec"]["ports"]] == [True]


def test_a_proxy_that_terminates_tls_is_the_only_way_in(rendering: Rendering) -> None:
    if not rendering.of_kind("Ingress", "Gateway"):
        pytest.skip("no proxy in front")
    assert rendering.named("Service", "gateway")["spec"]["type"] == "ClusterIP"


def test_no_pod_reaches_the_metadata_service_of_its_node(rendering: Rendering) -> None:
    for policy in rendering.of_kind("NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            for peer in rule["to"]:
                if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                    assert "169.254.0.0/16" in peer["ipBlock"]["except"]


def policies(rendering: Rendering, pod: Pod, direction: str) -> Iterator[Resource]:
    for policy in rendering.of_kind("NetworkPolicy"):
        selects_pod = selector(policy["spec"]["podSelector"]).items() <= pod.labels.items()
        if selects_pod and direction.capitalize() in policy["spec"]["policyTypes"]:
            yield policy


def peers(
    rendering: Rendering, pod: Pod, direction: str
) -> Iterator[tuple[Mapping[str, Any], list[int]]]:
    """The peers that a policy allows for a pod, with ports; an empty peer means any address."""
    side = "to" if direction == "egress" else "from"
    for policy in policies(rendering, pod, direction):
        for rule in policy["spec"].get(direction, []):
            ports = [port["port"] for port in rule["ports"]]
            for peer in rule.get(side, [{}]):
                yield peer, ports


def pods_of(rendering: Rendering, peer: Mapping[str, Any]) -> list[Pod]:
    """The pods of the product that a peer selects."""
    if "podSelector" not in peer or "namespaceSelector" in peer:
        return []
    return rendering.selected(selector(peer["podSelector"]))


def selector(labels: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = labels.get("matchLabels", {})
    return found

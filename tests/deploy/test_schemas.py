"""Manifests match the schemas of the oldest and the newest supported Kubernetes."""

from __future__ import annotations

import kubernetes_validate
import pytest

from tests.deploy.rendering import Rendering, Resource

VERSIONS = ("1.31", "1.34", "1.37")

# Required fields of kinds whose schemas Kubernetes does not include.
FOREIGN = {
    ("cert-manager.io/v1", "Issuer"): set(),
    ("cert-manager.io/v1", "Certificate"): {"secretName", "issuerRef", "privateKey"},
    ("gateway.networking.k8s.io/v1", "Gateway"): {"gatewayClassName", "listeners"},
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {"parentRefs", "rules"},
    ("monitoring.coreos.com/v1", "PodMonitor"): {"selector", "podMetricsEndpoints"},
    ("monitoring.coreos.com/v1", "PrometheusRule"): {"groups"},
}


def kind_of(resource: Resource) -> tuple[str, str]:
    return resource["apiVersion"], resource["kind"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_matches_its_schema(rendering: Rendering, version: str) -> None:
    for resource in rendering.resources:
        if kind_of(resource) not in FOREIGN:
            kubernetes_validate.validate(resource, version, strict=True)


def test_custom_resources_have_their_required_fields(rendering: Rendering) -> None:
    for resource in rendering.resources:
        if required := FOREIGN.get(kind_of(resource)):
            assert required <= resource["spec"].keys()


def test_resources_are_in_the_namespace_with_unique_names(rendering: Rendering) -> None:
    seen = set()
    for resource in rendering.resources:
        metadata = resource["metadata"]
        if resource["kind"] != "Namespace":
            assert metadata["namespace"] == "sori"
        assert (resource["kind"], metadata["name"]) not in seen
        seen.add((resource["kind"], metadata["name"]))

"""The product has one version."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import yaml

from services.runtime.metrics import serving_metrics
from services.version import product_version
from stack.ports import free_ports

K8S = Path(__file__).parents[2] / "deploy" / "k8s"


def test_it_is_a_semantic_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", product_version())


@pytest.mark.parametrize("folder", ["base", "overlays/local"])
def test_manifests_run_images_of_this_version(folder: str) -> None:
    kustomization = yaml.safe_load((K8S / folder / "kustomization.yaml").read_text())
    ours = [image for image in kustomization["images"] if image["name"].startswith("sori/")]
    assert {image["newTag"] for image in ours} == {product_version()}


def test_metrics_name_service_and_version() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with serving_metrics(address, "catalog"):
        metrics = httpx.get(f"http://{address}/metrics").text
    line = f'sori_build_info{{service="catalog",version="{product_version()}"}} 1.0'
    assert line in metrics.splitlines()

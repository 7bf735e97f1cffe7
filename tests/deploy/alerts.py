"""The alert rules of the component `monitoring`."""

from __future__ import annotations

from typing import Any

import yaml

from stack.environment import ROOT

ALERTS = ROOT / "deploy" / "k8s" / "components" / "monitoring" / "alerts.yaml"


def groups() -> list[dict[str, Any]]:
    """The groups of rules, as Prometheus reads them."""
    spec: dict[str, Any] = yaml.safe_load(ALERTS.read_text("utf-8"))["spec"]
    return list(spec["groups"])


def alerts() -> list[dict[str, Any]]:
    """All rules."""
    return [rule for group in groups() for rule in group["rules"]]

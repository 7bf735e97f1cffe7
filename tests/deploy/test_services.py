"""Alerts, scripts and the runbook name every service of the suite."""

from __future__ import annotations

import re

import pytest

from services.registry import SERVICES, Service
from stack.environment import ROOT
from tests.deploy.alerts import alerts

RUNBOOK = (ROOT / "docs" / "operations.md").read_text("utf-8")
RESTORE = (ROOT / "deploy" / "scripts" / "restore.sh").read_text("utf-8")

every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


@every_service
def test_an_alert_fires_when_none_of_its_replicas_is_healthy(service: Service) -> None:
    (rule,) = (rule for rule in alerts() if rule["alert"] == "NoHealthyReplica")
    (names,) = re.findall(r'envoy_cluster_name=~"([^"]+)"', rule["expr"])
    assert service.name in names.split("|")


@every_service
def test_a_restore_replaces_its_schema_and_stops_its_pods(service: Service) -> None:
    (schemas,) = re.findall(r"DROP SCHEMA IF EXISTS (.+) CASCADE", RESTORE)
    assert service.name in schemas.split(", ")
    assert re.search(rf"for table in .*\b{service.name}\.", RESTORE)
    (names,) = re.findall(r"^for each in (gateway .+); do$", RUNBOOK, re.MULTILINE)
    assert {*service.deployments} <= set(names.split())

"""Every alert has a section in the runbook, and Prometheus accepts the rules."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.environment import ROOT

RUNBOOK = (ROOT / "docs" / "operations.md").read_text("utf-8")
ALERTS = ROOT / "deploy" / "k8s" / "components" / "monitoring" / "alerts.yaml"
SEVERITIES = ("critical", "warning")


def groups() -> list[dict[str, Any]]:
    spec: dict[str, Any] = yaml.safe_load(ALERTS.read_text("utf-8"))["spec"]
    return list(spec["groups"])


def alerts() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"]]


def anchor(heading: str) -> str:
    """The anchor that Markdown renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def headings(marks: str, text: str = RUNBOOK) -> list[str]:
    return re.findall(rf"^{marks} (.+)$", text, re.MULTILINE)


def test_alerts_and_sections_match() -> None:
    section = RUNBOOK.split("\n## Alerts\n")[1].split("\n## ")[0]
    assert headings("###", section) == [rule["alert"] for rule in alerts()]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_has_a_severity_a_summary_and_its_runbook_link(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"]["summary"]
    path, _, fragment = rule["annotations"]["runbook_url"].partition("#")
    assert path.endswith("/docs/operations.md")
    assert fragment == anchor(rule["alert"])


def test_links_within_the_runbook_have_a_target() -> None:
    anchors = {anchor(heading) for heading in headings("#{2,3}")}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


def test_files_that_the_runbook_links_exist() -> None:
    links = re.findall(r"\]\((?!#|https:)([^)#]+)", RUNBOOK)
    assert all((ROOT / "docs" / link).exists() for link in links)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": groups()}))
    result = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()

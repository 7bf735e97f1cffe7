"""Every alert has a section in the runbook, and the links of the runbook lead somewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stack.environment import ROOT
from tests.deploy.alerts import alerts

RUNBOOK = (ROOT / "docs" / "operations.md").read_text("utf-8")
SEVERITIES = ("critical", "warning")


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

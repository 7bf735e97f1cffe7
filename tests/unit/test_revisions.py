"""The revisions of a service's schema are those that Alembic finds."""

from __future__ import annotations

import pytest
from alembic.script import ScriptDirectory

from services.registry import MIGRATED_SERVICES
from services.runtime.migrations import alembic_config
from services.runtime.revisions import head_revisions, older_revisions


@pytest.mark.parametrize("service", MIGRATED_SERVICES)
def test_the_head_and_the_older_revisions_are_those_of_alembic(service: str) -> None:
    scripts = ScriptDirectory.from_config(alembic_config(service))
    every = {script.revision for script in scripts.walk_revisions()}
    head = {scripts.get_current_head() or ""}
    assert head_revisions(service) == head
    assert older_revisions(service) == every - head

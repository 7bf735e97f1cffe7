"""Which revisions of a service's schema are too old for its code."""

from __future__ import annotations

import pytest
from alembic.script import ScriptDirectory

from services.registry import MIGRATED_SERVICES
from services.runtime.migrations import alembic_config
from services.runtime.schema import older_revisions


@pytest.mark.parametrize("service", MIGRATED_SERVICES)
def test_every_revision_before_the_head_of_alembic_is_older(service: str) -> None:
    scripts = ScriptDirectory.from_config(alembic_config(service))
    every = {script.revision for script in scripts.walk_revisions()}
    assert older_revisions(service) == every - {scripts.get_current_head()}

"""A rendering of each recommended combination of manifests."""

from __future__ import annotations

import pytest

from tests.deploy.rendering import COMBINATIONS, Rendering, rendered


@pytest.fixture(params=COMBINATIONS)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    return rendered(request.param)

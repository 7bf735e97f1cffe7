from __future__ import annotations

import pytest
from pydantic import ValidationError

from stack.settings import StackSettings


def test_one_replica_is_the_default() -> None:
    settings = StackSettings()
    assert settings.replicas["upload"] == ("upload",)
    assert settings.analysis_workers == ()


@pytest.mark.parametrize(
    "invalid", [{"SORI_REPLICAS": "0"}, {"SORI_REPLICAS": "6"}, {"SORI_ANALYSIS_WORKERS": "-1"}]
)
def test_values_out_of_range_are_refused(invalid: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        StackSettings.from_environment(invalid)

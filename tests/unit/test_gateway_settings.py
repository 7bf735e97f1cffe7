"""The gateway refuses settings that contradict each other."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings


@pytest.mark.parametrize("origins", ["", "*", "https://*.sori.example"])
def test_credentials_need_listed_origins(origins: str) -> None:
    with pytest.raises(ValidationError, match="GATEWAY_CORS_ORIGINS"):
        GatewaySettings(gateway_cors_origins=origins, gateway_cors_credentials=True)

"""Settings of login providers."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from services.accounts.providers import Provider, parse_providers
from services.accounts.return_to import origin_of
from services.runtime.settings import Settings


class ProviderSettings(Settings):
    """The login providers, and the pages to which their logins return."""

    accounts_providers: SecretStr = Field(
        SecretStr("{}"),
        description=(
            "Login providers, as JSON: settings by provider name, such as "
            '{"google": {"client_id": "…", "client_secret": "…"}}; docs/login-providers.md lists '
            "them; default: none."
        ),
    )
    accounts_return_origins: str = Field(
        "",
        description=(
            "Origins, separated by spaces, to which logins at providers may return besides those "
            "of ACCOUNTS_ISSUER and APP_URL, such as https://app.example.com; default: none."
        ),
    )

    @field_validator("accounts_providers")
    @classmethod
    def _providers_are_valid(cls, value: SecretStr) -> SecretStr:
        parse_providers(value.get_secret_value())
        return value

    @field_validator("accounts_return_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for each in value.split():
            if origin_of(each) != each:
                raise ValueError(f"{each} is not an origin, such as https://app.example.com")
        return value

    @property
    def providers(self) -> dict[str, Provider]:
        """The login providers by name."""
        return parse_providers(self.accounts_providers.get_secret_value())

"""Settings of the accounts service."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field, HttpUrl, SecretStr, field_validator

from services.accounts.providers import Provider, parse_providers
from services.accounts.return_to import origin_of
from services.runtime.settings import DatabaseSettings


class AccountsSettings(DatabaseSettings):
    """Addresses, lifetimes of tokens and keys, mail."""

    accounts_listen: str = Field("127.0.0.1:50054", description="host:port to listen on.")
    accounts_max_calls: int = Field(
        1_000,
        ge=0,
        description="How many calls a process handles at the same time; 0: unlimited.",
    )
    analysis_address: str = Field(
        "127.0.0.1:50053", description="host:port of the analysis service."
    )
    upload_address: str = Field("127.0.0.1:50052", description="host:port of the upload service.")
    accounts_issuer: HttpUrl = Field(
        HttpUrl("http://localhost:8000"),
        description=(
            "URL of the gateway, without a path: `iss` in access tokens, and where clients find "
            "the keys."
        ),
    )
    accounts_secret: SecretStr = Field(
        min_length=32,
        description=(
            "Secret that encrypts signing keys and second factors in PostgreSQL, at least 32 "
            "characters."
        ),
    )
    accounts_secret_previous: SecretStr = Field(
        SecretStr(""),
        description=(
            "Former ACCOUNTS_SECRET, which still decrypts while it is being replaced; default: "
            "none."
        ),
    )
    accounts_email_verification: bool = Field(
        True,
        description="Whether a learner must confirm the e-mail address before the first login.",
    )
    access_token_seconds: int = Field(
        600, ge=5, le=3600, description="How long an access token is valid."
    )
    refresh_token_seconds: int = Field(
        30 * 24 * 3600, ge=60, description="After how long without a refresh a session ends."
    )
    refresh_grace_seconds: float = Field(
        10.0,
        ge=0,
        le=60,
        description=(
            "How long a used refresh token gets the same answer again, for clients that lost the "
            "first one; later it ends its session."
        ),
    )
    signing_key_seconds: float = Field(
        30 * 24 * 3600.0,
        ge=3600,
        description="How long a key signs access tokens before the next one replaces it.",
    )
    smtp_url: SecretStr = Field(
        SecretStr("smtp://localhost:15025"),
        description=(
            "smtp://user:password@host:port of the mail server; smtps:// for TLS from the first "
            "byte; smtp:// uses STARTTLS where the server offers it."
        ),
    )
    mail_from: str = Field(
        "Sori <no-reply@localhost>", description="Sender of mails: a name and an address."
    )
    app_url: HttpUrl = Field(
        HttpUrl("http://localhost:8000"),
        description="URL of the web app, to which links in mails and logins at providers lead.",
    )

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

    @cached_property
    def providers(self) -> dict[str, Provider]:
        """The login providers by name."""
        return parse_providers(self.accounts_providers.get_secret_value())

    @property
    def issuer(self) -> str:
        """The issuer as tokens state it: without a slash at the end."""
        return str(self.accounts_issuer).rstrip("/")

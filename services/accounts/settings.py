"""Settings of the accounts service."""

from __future__ import annotations

from email.utils import parseaddr
from functools import cached_property
from typing import Self

from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator

from services.accounts.passkey_checks import RelyingParty
from services.accounts.providers import Provider, parse_providers
from services.accounts.return_to import origin_of
from services.accounts.sealing import Sealer
from services.accounts.smtp_url import SmtpUrl
from services.runtime.settings import DatabaseSettings, ObjectStoreSettings


class AccountsSettings(DatabaseSettings, ObjectStoreSettings):
    """Addresses, lifetimes of tokens and keys, mail, pictures."""

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
    picture_url_seconds: int = Field(
        3600,
        ge=60,
        le=7 * 24 * 3600,
        description="How long the URL of an account's picture is valid.",
    )
    smtp_url: SecretStr = Field(
        SecretStr("smtp://localhost:15025"),
        description=(
            "Mail server, as smtp+starttls://user:password@host:587, smtps:// for TLS from the "
            "first byte, or smtp://, which uses STARTTLS only where the server offers it. "
            "Percent-encode special characters of the password. SSL_CERT_FILE names further "
            "authorities of certificates."
        ),
    )
    accounts_password_queue: int = Field(
        64,
        ge=1,
        description=(
            "How many passwords a process checks or keeps waiting, two at the same time; it "
            "refuses further ones with 503."
        ),
    )
    accounts_passkey_rp_id: str = Field(
        "",
        description=(
            "Domain that passkeys belong to (the WebAuthn RP ID), such as example.com for pages of "
            "app.example.com; passkeys of a former domain no longer work; default: the host of "
            "APP_URL."
        ),
    )
    accounts_passkey_origins: str = Field(
        "",
        description=(
            "Origins, separated by spaces, of the pages that may use passkeys, and of Android apps "
            "(android:apk-key-hash:…); default: those of APP_URL and ACCOUNTS_ISSUER that are in "
            "the domain of ACCOUNTS_PASSKEY_RP_ID."
        ),
    )
    accounts_roles_need_second_factor: bool = Field(
        False,
        description=(
            "Whether access tokens leave out the roles of accounts that have neither an "
            "authenticator app nor a passkey."
        ),
    )
    accounts_guesses_per_address: int = Field(
        100,
        ge=0,
        description=(
            "Wrong passwords, and logins with a passkey that do not succeed, that one client "
            "address may send before each further one must wait, from 1 s up to 1 minute; the "
            "count falls by one every 10 s; 0: unlimited. As many logins at providers may start, "
            "and fail, before further ones wait."
        ),
    )
    accounts_mails_per_address: int = Field(
        100,
        ge=0,
        description=(
            "Sign-ups and requests for mails that one client address may send before each further "
            "one must wait, from 5 s up to 10 minutes; the count falls by one every 30 s; 0: "
            "unlimited."
        ),
    )
    mail_from: str = Field(
        "Sori <no-reply@localhost>", description="Sender of mails: a name and an address."
    )
    app_url: HttpUrl = Field(
        HttpUrl("http://localhost:8000"),
        description="URL of the web app, to which links in mails and logins at providers lead.",
    )

    @field_validator("smtp_url")
    @classmethod
    def _is_smtp_url(cls, value: SecretStr) -> SecretStr:
        SmtpUrl.parse(value.get_secret_value())
        return value

    @field_validator("mail_from")
    @classmethod
    def _is_sender(cls, value: str) -> str:
        address = parseaddr(value)[1]
        if "\n" in value or "\r" in value or "@" not in address:
            raise ValueError('must be a name and an address, such as "Sori <no-reply@example.com>"')
        return value

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

    @model_validator(mode="after")
    def _origins_are_in_the_domain(self) -> Self:
        _ = self.relying_party
        return self

    @cached_property
    def relying_party(self) -> RelyingParty:
        """The product as passkeys know it."""
        return RelyingParty.of(
            self.accounts_passkey_rp_id,
            self.accounts_passkey_origins,
            app_url=str(self.app_url),
            issuer=self.issuer,
        )

    @cached_property
    def providers(self) -> dict[str, Provider]:
        """The login providers by name."""
        return parse_providers(self.accounts_providers.get_secret_value())

    def sealer(self) -> Sealer:
        """Encrypts with ACCOUNTS_SECRET, and also decrypts with the former one."""
        return Sealer(
            self.accounts_secret.get_secret_value(),
            self.accounts_secret_previous.get_secret_value(),
        )

    @property
    def issuer(self) -> str:
        """The issuer as tokens state it: without a slash at the end."""
        return str(self.accounts_issuer).rstrip("/")

"""Login providers: their settings, and presets for Google, Kakao, Naver and Apple.

An OpenID provider has an `issuer`; its endpoints are read from its discovery document. A
provider with plain OAuth 2.0, such as Naver, has explicit endpoints and a profile endpoint,
whose answer `profile_fields` maps to claims.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Literal, Self

from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from yarl import URL

GOOGLE = "google"
MAX_PROVIDERS = 20
RESERVED_NAMES = frozenset({"erasures", "me", "sessions", "totp"})
"""Provider names that would collide with other paths under /auth."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")

PRESETS: Mapping[str, Mapping[str, Any]] = {
    GOOGLE: {
        "issuer": "https://accounts.google.com",
        # Google documents both forms.
        "other_issuers": ("accounts.google.com",),
    },
    "kakao": {
        "issuer": "https://kauth.kakao.com",
        "scopes": "openid account_email profile_nickname",
    },
    "naver": {
        "authorization_endpoint": "https://nid.naver.com/oauth2.0/authorize",
        "token_endpoint": "https://nid.naver.com/oauth2.0/token",
        "profile_endpoint": "https://openapi.naver.com/v1/nid/me",
        "scopes": "",
        # Naver does not state whether the address is verified.
        "profile_fields": {
            "sub": "response.id",
            "email": "response.email",
            "name": "response.name",
        },
    },
    "apple": {
        "issuer": "https://appleid.apple.com",
        "scopes": "openid email name",
        # Apple requires this mode when scopes are requested.
        "authorization_parameters": {"response_mode": "form_post"},
    },
}
"""The settings of well-known providers that an operator need not write."""


class ProfileFields(BaseModel):
    """Where a profile has the claims: paths of field names, separated by dots."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sub: str = Field(min_length=1, description="The subject: the id of the person.")
    email: str = Field("", description="The e-mail address; default: none.")
    email_verified: str = Field("", description="Whether the address is verified; default: no.")
    name: str = Field("", description="The name; default: none.")


class AppleKey(BaseModel):
    """The key that signs Apple's client secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    team_id: str = Field(min_length=1, description="The team in Apple's developer account.")
    key_id: str = Field(min_length=1, description="The id of the key.")
    private_key: SecretStr = Field(description="The private key (PEM, P-256).")

    @field_validator("private_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        try:
            key = ECKey.import_key(value.get_secret_value())
        except (JoseError, ValueError, TypeError):
            raise ValueError("is not a private key in PEM") from None
        if not key.is_private or key.curve_name != "P-256":
            raise ValueError("is not a private key of the curve P-256")
        return value


class Provider(BaseModel):
    """One login provider."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(description="The name in paths: lower case, digits, dashes.")
    issuer: str = Field("", description="The issuer of its id tokens; empty without OpenID.")
    other_issuers: tuple[str, ...] = Field((), description="Further accepted values of `iss`.")
    authorization_endpoint: str = Field("", description="Default: from the discovery document.")
    token_endpoint: str = Field("", description="Default: from the discovery document.")
    jwks_uri: str = Field("", description="Default: from the discovery document.")
    profile_endpoint: str = Field(
        "", description="URL of the profile; default: the userinfo endpoint of discovery."
    )
    profile_fields: ProfileFields = Field(
        ProfileFields(sub="sub", email="email", email_verified="email_verified", name="name"),
        description="Where the profile has the claims; default: as OpenID Connect names them.",
    )
    client_id: str = Field(min_length=1, description="The client id of this product.")
    client_secret: SecretStr = Field(SecretStr(""), description="Its secret; empty for none.")
    apple_key: AppleKey | None = Field(None, description="The key that replaces the secret.")
    token_authentication: Literal["client_secret_post", "client_secret_basic"] = Field(
        "client_secret_post", description="How the token endpoint gets the secret."
    )
    audiences: tuple[str, ...] = Field(
        (),
        description="Further client ids whose id tokens are accepted: those of mobile apps.",
    )
    scopes: str = Field("openid email profile", description="Separated by spaces.")
    authorization_parameters: dict[str, str] = Field(
        default_factory=dict, description="Further parameters of the authorization request."
    )
    email_is_verified: bool = Field(
        False, description="Whether every address that the provider states is verified."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not _NAME.fullmatch(self.name) or self.name in RESERVED_NAMES:
            raise ValueError(f"{self.name!r} can't be the name of a provider")
        explicit = (self.authorization_endpoint, self.token_endpoint, self.profile_endpoint)
        if not self.issuer and not all(explicit):
            raise ValueError(
                "a provider has an issuer, or all of authorization_endpoint, token_endpoint, "
                "profile_endpoint"
            )
        for url in (self.issuer, self.jwks_uri, *explicit):
            if url and not self.trusts(url):
                raise ValueError("URLs of providers begin with https://")
        return self

    @property
    def is_openid(self) -> bool:
        """Whether the provider issues id tokens."""
        return bool(self.issuer)

    @property
    def issuers(self) -> frozenset[str]:
        """The accepted values of `iss`."""
        return frozenset({self.issuer, *self.other_issuers})

    @property
    def all_audiences(self) -> frozenset[str]:
        """The client ids whose id tokens are accepted in an exchange."""
        return frozenset({self.client_id, *self.audiences})

    def trusts(self, url: str) -> bool:
        """Whether the provider may be called at a URL: by HTTPS, or by HTTP on this machine.

        HTTP is allowed only if the provider itself is on this machine, as in tests.
        """
        try:
            parsed = URL(url)
        except ValueError:
            return False
        if parsed.scheme == "https":
            return parsed.host is not None
        own = URL(self.issuer or self.token_endpoint)
        return parsed.scheme == "http" and _is_loopback(parsed.host) and _is_loopback(own.host)


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def parse_providers(text: str) -> dict[str, Provider]:
    """The providers by name. text: ACCOUNTS_PROVIDERS; presets fill in missing settings.

    Errors: ValueError, which names the provider and the invalid settings, but no values.
    """
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("must be a JSON object") from None
    if not isinstance(settings, dict) or not all(isinstance(v, dict) for v in settings.values()):
        raise ValueError("must be a JSON object of objects")
    if len(settings) > MAX_PROVIDERS:
        raise ValueError(f"must have at most {MAX_PROVIDERS} providers")
    return {name: _provider(name, values) for name, values in settings.items()}


def _provider(name: str, values: dict[str, Any]) -> Provider:
    try:
        return Provider.model_validate({**PRESETS.get(name, {}), **values, "name": name})
    except ValidationError as error:
        # The error itself has the values, which may be secrets.
        problems = (" ".join((*map(str, each["loc"]), each["msg"])) for each in error.errors())
        raise ValueError(f"{name}: {'; '.join(problems)}") from None

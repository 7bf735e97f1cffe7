"""The issuers of the access tokens that the gateway accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.access import ROLES

OWN_NAME = "sori"
OWN_AUDIENCE = "sori"
FAILURE = "failure"
"""The name under which the gateway keeps why a token is invalid; no issuer may have it."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PORTS = {"https": 443, "http": 80}

Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
Role = Literal["catalog_editor", "operator"]


class ExternalIssuer(BaseModel):
    """An OpenID provider outside the suite, such as Keycloak, Cognito or Auth0.

    name: starts the ids of its accounts: `<name>|<sub>`. issuer: the claim `iss`. jwks_uri: URL
        of its public keys; HTTPS, or HTTP on this machine. audience: the claim `aud` must
        contain it. roles_claim: the claim with roles or groups, as a list or a text with
        spaces; dots separate nested names. roles: the role that each of its values grants;
        others grant none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    issuer: Text
    jwks_uri: Text
    audience: Text
    roles_claim: Text = "roles"
    roles: dict[Text, Role] = {}

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if self.name in (OWN_NAME, FAILURE):
            raise ValueError(f'the name "{self.name}" is reserved')
        url = urlsplit(self.jwks_uri)
        is_local = url.scheme == "http" and url.hostname in _LOOPBACK
        if not url.hostname or not (url.scheme == "https" or is_local):
            raise ValueError(f"{self.jwks_uri} is not an https URL")
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether its keys are fetched over TLS."""
        return self.jwks_uri.startswith("https:")

    @property
    def host(self) -> str:
        """The host of its keys."""
        return urlsplit(self.jwks_uri).hostname or ""

    @property
    def port(self) -> int:
        """The port of its keys."""
        url = urlsplit(self.jwks_uri)
        return url.port or _PORTS[url.scheme]

    @property
    def cluster(self) -> str:
        """The name of its cluster in Envoy."""
        return f"issuer-{self.name}"


def _parsed(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def _distinct(issuers: tuple[ExternalIssuer, ...]) -> tuple[ExternalIssuer, ...]:
    for each in ("name", "issuer"):
        values = [getattr(issuer, each) for issuer in issuers]
        if len(set(values)) < len(values):
            raise ValueError(f"two issuers have the same {each}")
    return issuers


ExternalIssuers = Annotated[
    tuple[ExternalIssuer, ...], BeforeValidator(_parsed), AfterValidator(_distinct)
]
"""A list of external issuers; in the environment as JSON."""


@dataclass(frozen=True)
class Issuer:
    """An issuer as the configuration of Envoy needs it.

    prefix: starts the ids of its accounts. keys_uri, cluster: where its keys are. roles: the
    role that each value of the claim grants.
    """

    name: str
    prefix: str
    issuer: str
    audience: str
    keys_uri: str
    cluster: str
    roles_claim: str
    roles: Mapping[str, str]

    @classmethod
    def own(cls, issuer: str, cluster: str, path: str) -> Self:
        """The accounts service. path: of its keys at the cluster."""
        return cls(
            name=OWN_NAME,
            prefix="",
            issuer=issuer,
            audience=OWN_AUDIENCE,
            keys_uri=f"http://{cluster}{path}",
            cluster=cluster,
            roles_claim="roles",
            roles={role: role for role in ROLES},
        )

    @classmethod
    def external(cls, issuer: ExternalIssuer) -> Self:
        """An external issuer of the settings."""
        return cls(
            name=issuer.name,
            prefix=f"{issuer.name}|",
            issuer=issuer.issuer,
            audience=issuer.audience,
            keys_uri=issuer.jwks_uri,
            cluster=issuer.cluster,
            roles_claim=issuer.roles_claim,
            roles=issuer.roles,
        )

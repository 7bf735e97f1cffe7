"""The security section of the OpenAPI document, from the access that each rpc states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.access import Access, ignores_invalid_token

Json = dict[str, Any]

SECURITY_SCHEMES: Json = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of `POST /auth/login`, or of an issuer that the server"
        " accepts.",
    },
    "accessTokenParameter": {
        "type": "apiKey",
        "in": "query",
        "name": "access_token",
        "description": "The same token, for a browser's EventSource, which cannot send headers.",
    },
    "guestToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Guest-Token",
        "description": "The secret of a caller without an account: the header `x-guest-token` of"
        " the answer to its first upload.",
    },
    "guestCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sori_guest",
        "description": "The same secret, for browsers.",
    },
}

_TOKEN: Json = {"accessToken": []}
_PARAMETER: Json = {"accessTokenParameter": []}
_GUESTS: tuple[Json, ...] = ({"guestToken": []}, {"guestCookie": []}, {})

_DESCRIPTIONS: Mapping[Access, str] = {
    Access.LEARNER: "Callers without an account are guests; a setting decides whether the server"
    " admits them.",
    Access.OWNER: "The resource does not exist for callers who do not own it. Everyone who knows"
    " the id of a guest's resource may use it.",
    Access.ACCOUNT: "Needs an access token.",
    Access.CATALOG_EDITOR: "Needs the role `catalog_editor` or `operator`.",
    Access.OPERATOR: "Needs the role `operator`.",
}


def security(access: Access, *, is_event_stream: bool) -> list[Json]:
    """The alternative credentials of an operation; empty if it needs none."""
    if access.needs_account:
        return [_TOKEN]
    if not access.admits_guests:
        return []
    return [_TOKEN, *([_PARAMETER] if is_event_stream else []), *_GUESTS]


def described(comment: str, access: Access) -> str:
    """The description of an operation, with a paragraph about its callers."""
    about = _DESCRIPTIONS.get(access)
    return f"{comment}\n\n{about}" if about else comment


def may_return(rpc: str, access: Access, reason: str) -> bool:
    """Whether an operation may return an error of the gateway about credentials.

    rpc: its path in gRPC.
    """
    if reason == "CREDENTIALS_INVALID":
        # The gateway ignores the credentials of the analysis server.
        return access is not Access.ANALYSIS_SERVER and not ignores_invalid_token(rpc, access)
    if reason == "CREDENTIALS_MISSING":
        return access.needs_account or access.admits_guests
    return reason != "ROLE_MISSING" or bool(access.role)

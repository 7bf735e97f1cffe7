"""Helpers for the rpcs of all themes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from services.accounts import converters
from services.accounts.errors import AccountNotFound, CrossSiteRequest
from services.accounts.models import IssuedTokens
from services.accounts.passkey_checks import Credential
from services.accounts.second_factor import Proof
from services.runtime.access import caller_of
from services.runtime.errors import FieldViolation, InvalidField
from services.runtime.interceptors import Context, call_language, call_metadata
from services.runtime.language import LearnerMessage
from services.runtime.shared_errors import CredentialsMissing
from services.runtime.text import nfc, text_problem
from sori.accounts.v1 import accounts_pb2 as pb

SESSION = "x-sori-session"
"""Metadata of the gateway: `sid` of the access token."""

REFRESH_COOKIE = "__Host-sori_refresh"
"""The cookie of the refresh token. Browsers demand the path "/" of a name with this prefix."""

CUSTOM_HEADER = "x-requested-with"
"""Browsers let a page of another site send it only if the gateway's CORS settings allow that."""

MAX_LABEL_LENGTH = 100

MAX_CREDENTIAL_BYTES = 16 * 1024

ROLES_WITHHELD = LearnerMessage(
    "편집자와 운영자 권한을 쓰려면 2단계 인증이 필요합니다. 패스키나 인증 앱을 등록해 주세요.",
    "Your roles need a second factor. Set up a passkey or an authenticator app to use them.",
)

_WithProof = (
    pb.LogInRequest
    | pb.LogInWithIdTokenRequest
    | pb.ConfirmLoginRequest
    | pb.BeginPasskeyRegistrationRequest
    | pb.DeletePasskeyRequest
)

_SAME_SITE = ("same-origin", "same-site")


def account_id_of(context: Context) -> UUID:
    """The id of the caller's account. Errors: CredentialsMissing if the caller has none."""
    caller = caller_of(context)
    if not caller.is_account:
        raise CredentialsMissing
    try:
        return UUID(caller.owner_id)
    except ValueError:
        # An account of an external issuer.
        raise CredentialsMissing from None


@contextmanager
def own_account(context: Context) -> Iterator[UUID]:
    """The id of the caller's account, for calls about it.

    The access token of a deleted account outlives it for minutes; its caller has no account.
    Errors: CredentialsMissing.
    """
    account_id = account_id_of(context)
    try:
        yield account_id
    except AccountNotFound:
        raise CredentialsMissing from None


def uuid_of(field: str, text: str) -> UUID:
    """The UUID in a field of the request. Errors: InvalidField."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidField(FieldViolation(field, "must be a UUID")) from None


def refresh_token_of(context: Context, in_body: str) -> str:
    """The refresh token of the body or, without one, of the cookie; empty if there is neither.

    Errors: CrossSiteRequest if a page of another site may have caused a call with the cookie.
    """
    if in_body:
        return in_body
    token = cookie_of(context, REFRESH_COOKIE)
    if token:
        check_same_site(context)
    return token


def cookie_of(context: Context, name: str) -> str:
    """The value of a cookie; empty without it."""
    # http.cookies drops all cookies after one that it can't parse.
    for cookie in call_metadata(context).get("cookie", "").split(";"):
        found, _, value = cookie.strip().partition("=")
        if found == name:
            return value
    return ""


def check_same_site(context: Context) -> None:
    """Return if no page of another site can have caused the call.

    The cookie itself has SameSite=Strict; this also protects where a browser ignores it, and
    against logins that another site begins. Errors: CrossSiteRequest.
    """
    metadata = call_metadata(context)
    is_same_site = metadata.get("sec-fetch-site", "") in _SAME_SITE
    if not is_same_site and CUSTOM_HEADER not in metadata:
        raise CrossSiteRequest


def refresh_cookie(token: str, lifetime_seconds: int) -> str:
    """The header `Set-Cookie` of a refresh token. lifetime_seconds: 0 deletes the cookie."""
    return (
        f"{REFRESH_COOKIE}={token}; Path=/; Max-Age={lifetime_seconds}; Secure; HttpOnly;"
        " SameSite=Strict"
    )


def credential_of(field: str, message: Struct) -> Credential:
    """The PublicKeyCredential in a field of the request. Errors: InvalidField."""
    if message.ByteSize() > MAX_CREDENTIAL_BYTES:
        problem = f"must have at most {MAX_CREDENTIAL_BYTES} bytes"
        raise InvalidField(FieldViolation(field, problem))
    credential: Credential = MessageToDict(message)
    return credential


def proof_of(request: _WithProof) -> Proof:
    """The second factor in a request. Errors: InvalidField."""
    if not request.HasField("passkey"):
        return Proof(request.totp_code)
    return Proof(request.totp_code, credential_of("passkey", request.passkey))


async def send_tokens(
    context: Context, tokens: IssuedTokens, lifetime_seconds: int, *, use_cookie: bool
) -> pb.Tokens:
    """The response with a session's tokens; with `use_cookie`, also sends the cookie.

    lifetime_seconds: of the refresh token.
    """
    headers = [("cache-control", "no-store")]
    if use_cookie:
        headers.append(("set-cookie", refresh_cookie(tokens.refresh_token, lifetime_seconds)))
    await context.send_initial_metadata(tuple(headers))
    message = converters.tokens_to(tokens, with_refresh_token=not use_cookie)
    if tokens.withheld_roles:
        message.message = ROLES_WITHHELD.text(call_language(context))
    return message


def device_of(text: str) -> str:
    """The name of a session in lists, in NFC. Errors: InvalidField."""
    return label_of("device", text)


def label_of(field: str, text: str) -> str:
    """The name of something in lists, in NFC. Errors: InvalidField."""
    label = nfc(text, MAX_LABEL_LENGTH).strip()
    if problem := text_problem(label, MAX_LABEL_LENGTH):
        raise InvalidField(FieldViolation(field, problem))
    return label


def session_id_of(context: Context) -> UUID | None:
    """The session of the caller's access token; None if the gateway does not state it."""
    stated = call_metadata(context).get(SESSION, "")
    return uuid_of(SESSION, stated) if stated else None


def guest_owner_id_of(context: Context) -> str:
    """The owner id of the guest who calls; empty for other callers."""
    caller = caller_of(context)
    return "" if caller.is_account else caller.owner_id

"""Logins at providers: from the first redirect to the account."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, quote, urlencode
from uuid import UUID

from services.accounts.errors import LoginStateInvalid, ProviderNotFound
from services.accounts.login_state import LoginCookies, LoginState, PendingLogin
from services.accounts.provider_client import ProviderClient
from services.accounts.provider_documents import ProviderDocuments
from services.accounts.provider_http import ProviderHttp
from services.accounts.provider_identity import Arrival
from services.accounts.providers import Provider
from services.accounts.return_to import origin_of, safe_return_to
from services.accounts.sealing import Sealer
from services.accounts.settings import AccountsSettings
from services.accounts.store.identities import Identities
from services.runtime.database import Database
from services.runtime.errors import FieldViolation, InvalidField

MAX_CODE_LENGTH = 4096
MAX_STATE_LENGTH = 256
MAX_FORM_BYTES = 32 * 1024
MAX_FORM_FIELDS = 20

Clock = Callable[[], float]


@dataclass(frozen=True)
class Redirect:
    """An answer that sends the browser to another page. cookies: `Set-Cookie` headers."""

    location: str
    cookies: tuple[str, ...] = ()


class ProviderLogins:
    """Begins logins at providers, and finds the accounts of those that end."""

    def __init__(
        self,
        settings: AccountsSettings,
        client: ProviderClient,
        identities: Identities,
        cookies: LoginCookies,
        clock: Clock = time.time,
    ) -> None:
        """clock: Unix time in seconds."""
        self._providers: Mapping[str, Provider] = settings.providers
        self._issuer = settings.issuer
        self._app_url = str(settings.app_url)
        own = (settings.issuer, self._app_url, *settings.accounts_return_origins.split())
        self._origins = frozenset(map(origin_of, own))
        self._client = client
        self._identities = identities
        self._clock = clock
        self.cookies = cookies

    @classmethod
    def assemble(
        cls,
        settings: AccountsSettings,
        database: Database,
        sealer: Sealer,
        http: ProviderHttp,
        clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
    ) -> Self:
        """The logins at the providers of the settings.

        clock: Unix time in seconds. monotonic: the clock of caches.
        """
        documents = ProviderDocuments(http, settings.providers.values(), monotonic)
        client = ProviderClient(http, documents, clock)
        cookies = LoginCookies(sealer, secure=settings.issuer.startswith("https:"))
        return cls(settings, client, Identities(database), cookies, clock)

    async def begin(self, name: str, return_to: str) -> Redirect:
        """Begin a login. return_to: the page to return to; default: APP_URL.

        Errors: ProviderNotFound, ProviderUnavailable, InvalidField.
        """
        provider = self._provider(name)
        page = safe_return_to(return_to or self._app_url, self._origins)
        if page is None:
            problem = "must be a path of this host, or a URL of an allowed origin"
            raise InvalidField(FieldViolation("return_to", problem))
        state = LoginState.begin(name, page, self._clock())
        url = await self._client.authorization_url(provider, state, self._redirect_uri(name))
        return Redirect(url, (self.cookies.of_state(state),))

    def state_of(self, name: str, state: str, cookie: str) -> LoginState:
        """The login that a callback continues. cookie: the value of the state's cookie.

        Errors: ProviderNotFound, LoginStateInvalid.
        """
        self._provider(name)
        stored = self.cookies.state_in(cookie)
        is_valid = 0 < len(state) <= MAX_STATE_LENGTH
        if stored is None or not is_valid or not stored.accepts(name, state, self._clock()):
            raise LoginStateInvalid
        return stored

    async def account_of_code(self, state: LoginState, code: str, arrival: Arrival) -> UUID:
        """The account of the person who logged in at the provider.

        Errors: LoginStateInvalid, IdTokenInvalid, ProviderUnavailable.
        """
        if not 0 < len(code) <= MAX_CODE_LENGTH:
            raise LoginStateInvalid
        provider = self._provider(state.provider)
        identity = await self._client.identity_of_code(
            provider, state, code, self._redirect_uri(provider.name)
        )
        return await self._identities.account_of(identity, arrival)

    async def account_of_id_token(
        self, name: str, id_token: str, nonce: str, arrival: Arrival
    ) -> UUID:
        """The account of the person whom an id token names. nonce: empty if there is none.

        Errors: ProviderNotFound, IdTokenInvalid, ProviderUnavailable.
        """
        provider = self._provider(name)
        identity = await self._client.identity_of_id_token(provider, id_token, nonce)
        return await self._identities.account_of(identity, arrival)

    def callback_path(self, name: str, form: bytes) -> str:
        """The callback by GET that has the parameters of a callback by POST.

        Errors: ProviderNotFound, LoginStateInvalid if the form can't be read or has no state.
        """
        return _callback_path(self._provider(name).name, form)

    def pending(self, account_id: UUID) -> str:
        """The `Set-Cookie` header of a login that waits for the second factor."""
        return self.cookies.of_pending(PendingLogin.begin(str(account_id), self._clock()))

    def pending_account(self, cookie: str) -> UUID:
        """The account whose login waits for the second factor. cookie: its value.

        Errors: LoginStateInvalid.
        """
        pending = self.cookies.pending_in(cookie)
        if pending is None or self._clock() >= pending.expire_time:
            raise LoginStateInvalid
        return UUID(pending.account_id)

    def _provider(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            raise ProviderNotFound(provider=name)
        return provider

    def _redirect_uri(self, name: str) -> str:
        return f"{self._issuer}/auth/{name}/callback"


def _callback_path(name: str, form: bytes) -> str:
    try:
        if len(form) > MAX_FORM_BYTES:
            raise LoginStateInvalid
        fields = parse_qs(form.decode("ascii"), max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise LoginStateInvalid from None
    if "state" not in fields:
        raise LoginStateInvalid
    kept = [(field, fields[field][0]) for field in ("code", "state", "error") if field in fields]
    return f"/auth/{quote(name, safe='')}/callback?{urlencode(kept)}"

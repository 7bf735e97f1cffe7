"""The client of login providers: authorization URLs, codes, id tokens, profiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from yarl import URL

from services.accounts.client_secrets import credentials
from services.accounts.errors import IdTokenInvalid, LoginStateInvalid
from services.accounts.id_tokens import Claims, IdToken, InvalidIdToken, check_claims
from services.accounts.login_state import LoginState
from services.accounts.provider_documents import ProviderDocuments
from services.accounts.provider_http import Answer, ProviderHttp, ProviderRefused, unavailable
from services.accounts.provider_identity import ProviderIdentity, identity_of
from services.accounts.providers import Provider

Clock = Callable[[], float]

_logger = structlog.get_logger(__name__)


class ProviderClient:
    """Does with a provider what a login needs."""

    def __init__(
        self, http: ProviderHttp, documents: ProviderDocuments, clock: Clock = time.time
    ) -> None:
        """clock: Unix time in seconds."""
        self._http = http
        self._documents = documents
        self._clock = clock

    async def authorization_url(
        self, provider: Provider, state: LoginState, redirect_uri: str
    ) -> str:
        """The URL at which the browser begins the login. Errors: ProviderUnavailable."""
        endpoints = await self._documents.endpoints(provider)
        parameters = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": redirect_uri,
            "state": state.state,
            "code_challenge": state.challenge,
            "code_challenge_method": "S256",
        }
        if provider.scopes:
            parameters["scope"] = provider.scopes
        if provider.is_openid:
            parameters["nonce"] = state.nonce
        # The parameters of this login come last, so that no setting replaces them.
        query = {**provider.authorization_parameters, **parameters}
        return str(URL(endpoints.authorization).update_query(query))

    async def identity_of_code(
        self, provider: Provider, state: LoginState, code: str, redirect_uri: str
    ) -> ProviderIdentity:
        """The identity of the person who logged in at the provider.

        Errors: LoginStateInvalid if the provider refuses the code; IdTokenInvalid,
        ProviderUnavailable.
        """
        answer = await self._exchange(provider, state, code, redirect_uri)
        access_token = str(answer.get("access_token", ""))
        if not provider.is_openid:
            return self._identity(provider, await self._profile(provider, access_token))
        claims = await self._verified(
            provider, str(answer.get("id_token", "")), {provider.client_id}, state.nonce
        )
        identity = self._identity(provider, claims)
        if provider.profile_fields.email_verified in claims or not access_token:
            return identity
        # Kakao, and strict providers, state the verified address only in the profile.
        profile = await self._profile(provider, access_token)
        stated = self._identity(provider, profile) if profile else identity
        if stated.subject != identity.subject:
            raise _refused(provider, "the profile has another subject")
        return stated

    async def identity_of_id_token(
        self, provider: Provider, id_token: str, nonce: str
    ) -> ProviderIdentity:
        """The identity in an id token. nonce: empty if the client sent none to the provider.

        Errors: IdTokenInvalid, ProviderUnavailable.
        """
        if not provider.is_openid:
            raise _refused(provider, "the provider has no id tokens")
        claims = await self._verified(provider, id_token, provider.all_audiences, nonce)
        return self._identity(provider, claims)

    async def _exchange(
        self, provider: Provider, state: LoginState, code: str, redirect_uri: str
    ) -> Answer:
        url = (await self._documents.endpoints(provider)).token
        fields, headers = credentials(provider, self._clock())
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": state.verifier,
            # Naver wants it here, too.
            "state": state.state,
            **fields,
        }
        try:
            answer = await self._http.post(provider, url, form, headers)
        except ProviderRefused as error:
            if error.error == "invalid_grant":
                raise LoginStateInvalid from error
            raise unavailable(provider, f"refused the code: {error}", url) from error
        # Naver answers 200 also for errors.
        if "error" in answer:
            raise LoginStateInvalid
        return answer

    async def _profile(self, provider: Provider, access_token: str) -> Answer:
        """The profile; empty if the provider has none."""
        url = (await self._documents.endpoints(provider)).profile
        if not url:
            return {}
        try:
            return await self._http.get(provider, url, {"Authorization": f"Bearer {access_token}"})
        except ProviderRefused as error:
            raise unavailable(provider, f"refused the profile: {error}", url) from error

    async def _verified(
        self, provider: Provider, text: str, audiences: set[str] | frozenset[str], nonce: str
    ) -> Claims:
        try:
            token = IdToken.parse(text)
            key = await self._documents.key_of(provider, token)
            if key is None:
                raise InvalidIdToken("its key is unknown")
            claims = token.verified_by(key)
            check_claims(
                claims,
                issuers=provider.issuers,
                audiences=audiences,
                nonce=nonce,
                now=self._clock(),
            )
        except InvalidIdToken as error:
            raise _refused(provider, str(error)) from error
        return claims

    def _identity(self, provider: Provider, answer: Mapping[str, Any]) -> ProviderIdentity:
        identity = identity_of(provider, answer, provider.profile_fields)
        if identity is None:
            raise _refused(provider, "it has no subject")
        return identity


def _refused(provider: Provider, reason: str) -> IdTokenInvalid:
    _logger.info("login refused", provider=provider.name, reason=reason)
    return IdTokenInvalid(problem=reason)

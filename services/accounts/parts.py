"""The parts that the rpcs and the background tasks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from services.accounts.clients import AnalysisOwnerClient, UploadOwnerClient
from services.accounts.key_ring import KeyRing
from services.accounts.passwords import Passwords
from services.accounts.provider_http import ProviderHttp
from services.accounts.provider_logins import ProviderLogins
from services.accounts.sealing import Sealer
from services.accounts.second_factor import SecondFactor
from services.accounts.session_keeper import SessionKeeper
from services.accounts.settings import AccountsSettings
from services.accounts.store import AccountStore, ErasureStore, KeyStore, SessionStore
from services.runtime.database import Database


@dataclass(frozen=True)
class Parts:
    """What the rpcs are made of. Each theme builds what only it needs from these."""

    settings: AccountsSettings
    database: Database
    sealer: Sealer
    accounts: AccountStore
    erasures: ErasureStore
    keys: KeyRing
    sessions: SessionKeeper
    passwords: Passwords
    second_factor: SecondFactor
    provider_http: ProviderHttp
    provider_logins: ProviderLogins
    analyses: AnalysisOwnerClient
    uploads: UploadOwnerClient

    @classmethod
    def assemble(
        cls,
        settings: AccountsSettings,
        database: Database,
        analyses: AnalysisOwnerClient,
        uploads: UploadOwnerClient,
    ) -> Self:
        """Build all parts on one database."""
        sealer = Sealer(
            settings.accounts_secret.get_secret_value(),
            settings.accounts_secret_previous.get_secret_value(),
        )
        keys = KeyRing(settings, KeyStore(database), sealer)
        session_store = SessionStore(
            database,
            lifetime_seconds=settings.refresh_token_seconds,
            grace_seconds=settings.refresh_grace_seconds,
        )
        provider_http = ProviderHttp()
        return cls(
            settings=settings,
            database=database,
            sealer=sealer,
            accounts=AccountStore(database),
            erasures=ErasureStore(database, token_seconds=settings.access_token_seconds),
            keys=keys,
            sessions=SessionKeeper(session_store, keys),
            passwords=Passwords(settings, database),
            second_factor=SecondFactor(database, sealer),
            provider_http=provider_http,
            provider_logins=ProviderLogins.assemble(settings, database, sealer, provider_http),
            analyses=analyses,
            uploads=uploads,
        )

"""The parts that the rpcs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from services.accounts.passwords import Passwords
from services.accounts.provider_http import ProviderHttp
from services.accounts.provider_logins import ProviderLogins
from services.accounts.sealing import Sealer
from services.accounts.second_factor import SecondFactor
from services.accounts.session_keeper import SessionKeeper
from services.accounts.settings import AccountsSettings
from services.accounts.store import AccountStore
from services.runtime.database import Database


@dataclass(frozen=True)
class Parts:
    """What the rpcs are made of. Each theme builds what only it needs from these."""

    settings: AccountsSettings
    database: Database
    sealer: Sealer
    accounts: AccountStore
    sessions: SessionKeeper
    passwords: Passwords
    second_factor: SecondFactor
    provider_http: ProviderHttp
    provider_logins: ProviderLogins

    @classmethod
    def assemble(cls, settings: AccountsSettings, database: Database) -> Self:
        """Build all parts on one database."""
        sealer = Sealer(
            settings.accounts_secret.get_secret_value(),
            settings.accounts_secret_previous.get_secret_value(),
        )
        provider_http = ProviderHttp()
        return cls(
            settings,
            database,
            sealer,
            AccountStore(database),
            SessionKeeper(),
            Passwords(settings, database),
            SecondFactor(database, sealer),
            provider_http,
            ProviderLogins.assemble(settings, database, sealer, provider_http),
        )

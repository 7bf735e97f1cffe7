"""The parts that the rpcs and the background tasks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from services.accounts.clients import AnalysisOwnerClient, UploadOwnerClient
from services.accounts.key_ring import KeyRing
from services.accounts.mailer import Mailer
from services.accounts.outbox import Outbox
from services.accounts.passkeys import Passkeys
from services.accounts.passwords import Passwords
from services.accounts.pictures import PictureObjects
from services.accounts.provider_http import ProviderHttp
from services.accounts.provider_logins import ProviderLogins
from services.accounts.sealing import Sealer
from services.accounts.second_factor import SecondFactor
from services.accounts.session_keeper import SessionKeeper
from services.accounts.settings import AccountsSettings
from services.accounts.smtp_url import SmtpUrl
from services.accounts.store import (
    AccountStore,
    ErasureStore,
    KeyStore,
    MailStore,
    SessionStore,
)
from services.runtime.database import Database
from services.runtime.object_store import ObjectStore


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
    outbox: Outbox
    passkeys: Passkeys
    second_factor: SecondFactor
    provider_http: ProviderHttp
    provider_logins: ProviderLogins
    pictures: PictureObjects
    analyses: AnalysisOwnerClient
    uploads: UploadOwnerClient

    @classmethod
    def assemble(
        cls,
        settings: AccountsSettings,
        database: Database,
        analyses: AnalysisOwnerClient,
        uploads: UploadOwnerClient,
        objects: ObjectStore,
    ) -> Self:
        """Build all parts on one database. objects: the bucket with the pictures."""
        sealer = settings.sealer()
        keys = KeyRing(settings, KeyStore(database), sealer)
        session_store = SessionStore(
            database,
            lifetime_seconds=settings.refresh_token_seconds,
            grace_seconds=settings.refresh_grace_seconds,
        )
        smtp_url = SmtpUrl.parse(settings.smtp_url.get_secret_value())
        mailer = Mailer(smtp_url, settings.mail_from)
        passkeys = Passkeys(settings, database)
        provider_http = ProviderHttp()
        return cls(
            settings=settings,
            database=database,
            sealer=sealer,
            accounts=AccountStore(database),
            erasures=ErasureStore(database, token_seconds=settings.access_token_seconds),
            keys=keys,
            sessions=SessionKeeper(
                session_store,
                keys,
                roles_need_second_factor=settings.accounts_roles_need_second_factor,
            ),
            passwords=Passwords(settings, database),
            outbox=Outbox(MailStore(database), mailer, str(settings.app_url)),
            passkeys=passkeys,
            second_factor=SecondFactor(database, sealer, passkeys),
            provider_http=provider_http,
            provider_logins=ProviderLogins.assemble(settings, database, sealer, provider_http),
            pictures=PictureObjects(objects, settings.picture_url_seconds),
            analyses=analyses,
            uploads=uploads,
        )

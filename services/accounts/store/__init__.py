"""All SQL of the accounts service.

Lock order, so that concurrent writes cannot deadlock: the account before its other rows, and a
session before its used refresh tokens.
"""

from __future__ import annotations

from services.accounts.store.accounts import AccountStore
from services.accounts.store.adoptions import Adoption, AdoptionStore, remember_guest
from services.accounts.store.audit import AuditStore
from services.accounts.store.clients import ClientStore
from services.accounts.store.erasures import ErasureClaim, ErasureStore
from services.accounts.store.expired_rows import ExpiredRows
from services.accounts.store.keys import KeyStore, StoredKey
from services.accounts.store.mail_links import MailLinkStore
from services.accounts.store.mails import MailStore
from services.accounts.store.operators import OperatorStore
from services.accounts.store.passkeys import PasskeyStore, StoredPasskey
from services.accounts.store.pictures import PictureStore
from services.accounts.store.profiles import ProfileStore
from services.accounts.store.roles import RoleStore
from services.accounts.store.sealed import Sealed, SealedStore
from services.accounts.store.sessions import Begun, SessionStore
from services.accounts.store.sign_ups import NewAccount, SignUpStore

__all__ = [
    "AccountStore",
    "Adoption",
    "AdoptionStore",
    "AuditStore",
    "Begun",
    "ClientStore",
    "ErasureClaim",
    "ErasureStore",
    "ExpiredRows",
    "KeyStore",
    "MailLinkStore",
    "MailStore",
    "NewAccount",
    "OperatorStore",
    "PasskeyStore",
    "PictureStore",
    "ProfileStore",
    "RoleStore",
    "Sealed",
    "SealedStore",
    "SessionStore",
    "SignUpStore",
    "StoredKey",
    "StoredPasskey",
    "remember_guest",
]

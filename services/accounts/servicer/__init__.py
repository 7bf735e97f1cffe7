"""The AccountService: protobuf in, domain call, protobuf out."""

from __future__ import annotations

from services.accounts.parts import Parts
from services.accounts.servicer.admin import AccountAdminServicer
from services.accounts.servicer.clients import ClientRpcs
from services.accounts.servicer.erasure import ErasureRpcs
from services.accounts.servicer.keys import KeyRpcs
from services.accounts.servicer.login import LoginRpcs
from services.accounts.servicer.passkeys import PasskeyRpcs
from services.accounts.servicer.pictures import AccountPictureServicer
from services.accounts.servicer.profile import ProfileRpcs
from services.accounts.servicer.providers import ProviderRpcs
from services.accounts.servicer.signup import SignupRpcs
from services.accounts.servicer.totp import TotpRpcs
from sori.accounts.v1 import accounts_pb2_grpc

__all__ = ["AccountAdminServicer", "AccountPictureServicer", "AccountServicer"]


class AccountServicer(
    SignupRpcs,
    LoginRpcs,
    ProviderRpcs,
    ProfileRpcs,
    ErasureRpcs,
    TotpRpcs,
    PasskeyRpcs,
    KeyRpcs,
    ClientRpcs,
    accounts_pb2_grpc.AccountServiceServicer,
):
    """All rpcs of the AccountService. Each theme has its own module."""

    def __init__(self, parts: Parts) -> None:
        SignupRpcs.__init__(self, parts)
        LoginRpcs.__init__(self, parts)
        ProviderRpcs.__init__(self, parts)
        ProfileRpcs.__init__(self, parts)
        ErasureRpcs.__init__(self, parts)
        TotpRpcs.__init__(self, parts)
        PasskeyRpcs.__init__(self, parts)
        KeyRpcs.__init__(self, parts)
        ClientRpcs.__init__(self, parts)

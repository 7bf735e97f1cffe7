"""Accounts, for operators."""

from __future__ import annotations

from services.accounts.parts import Parts
from sori.accounts.v1 import accounts_pb2_grpc


class AccountAdminServicer(accounts_pb2_grpc.AccountAdminServiceServicer):
    """All rpcs of the AccountAdminService."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

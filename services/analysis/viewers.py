"""Viewers: which jobs exist for the caller of an rpc. Those of others are like unknown ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from services.runtime.access import caller_of
from services.runtime.callers import OPERATOR, Caller
from services.runtime.client_address import client_key
from services.runtime.interceptors import Context
from services.runtime.shared_errors import RoleMissing


@dataclass(frozen=True, slots=True)
class Viewer:
    """The caller of an rpc. guests: whether guests are admitted."""

    caller: Caller
    guests: bool
    address: str

    @classmethod
    def of(cls, context: Context, *, guests: bool) -> Self:
        """The viewer who calls an rpc."""
        return cls(caller_of(context), guests, client_key(context))

    @property
    def limited_as(self) -> str:
        """The key of limits per client: the account, or else the address.

        A guest counts by its address, because everyone can be any number of guests.
        """
        return self.caller.owner_id if self.caller.is_account else self.address

    def may_use(self, owner_id: str | None) -> bool:
        """Whether a job of this owner exists for the viewer; None for jobs without one."""
        return self.caller.may_use(owner_id, guests=self.guests)

    def listed_owner(self, wanted: str | None) -> str | None:
        """The owner whose jobs a list contains; None for those of all owners.

        wanted: the owner that the request names, if any. A viewer without an identity gets an
        owner who has no jobs. Errors: RoleMissing.
        """
        if self.caller.is_operator or self.caller.services:
            return wanted
        if wanted not in (None, self.caller.owner_id):
            raise RoleMissing(role=OPERATOR)
        return self.caller.owner_id

"""Who may call each public rpc, read from the contract.

An rpc states it with the option `sori.access.v1.access`. The gateway's policies, and the security
section of the OpenAPI document, follow from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from gateway.contract import methods

_OPTION = "sori.access.v1.access"
_PREFIX = "ACCESS_"
_CATALOG = "/sori.catalog.v1.CatalogService/"
_ACCOUNTS = "/sori.accounts.v1.AccountService/"

ROLES = ("catalog_editor", "operator")
"""The roles of accounts. An operator may do everything that a person may do."""


class Access(Enum):
    """Which callers may use a public rpc; the values of the option without their prefix."""

    PUBLIC = "PUBLIC"
    LEARNER = "LEARNER"
    OWNER = "OWNER"
    ACCOUNT = "ACCOUNT"
    CATALOG_EDITOR = "CATALOG_EDITOR"
    OPERATOR = "OPERATOR"
    ANALYSIS_SERVER = "ANALYSIS_SERVER"

    @property
    def role(self) -> str:
        """The role that a caller needs; empty if an rpc needs none."""
        name = self.value.lower()
        return name if name in ROLES else ""

    @property
    def admits_guests(self) -> bool:
        """Whether a setting can admit callers without an account."""
        return self in (Access.LEARNER, Access.OWNER)

    @property
    def needs_account(self) -> bool:
        """Whether a caller always needs an access token."""
        return self is Access.ACCOUNT or bool(self.role)


class AccessOption:
    """The option, in a descriptor set that contains its definition."""

    def __init__(self, files: FileDescriptorSet) -> None:
        """Errors: KeyError if no file defines the option."""
        pool = DescriptorPool()
        for file in files.file:
            pool.Add(file)
        self._extension: Any = pool.FindExtensionByName(_OPTION)
        options = pool.FindMessageTypeByName("google.protobuf.MethodOptions")
        self._options: Any = GetMessageClass(options)

    def of(self, rpc: str, options: Any) -> Access:
        """The access of a public rpc. options: its `MethodOptions`, of any pool.

        Errors: ValueError if the option is missing or keeps the rpc from being public.
        """
        parsed = self._options.FromString(options.SerializeToString())
        number = parsed.Extensions[self._extension]
        value = self._extension.enum_type.values_by_number.get(number)
        name = value.name.removeprefix(_PREFIX) if value else ""
        if name not in Access.__members__:
            raise ValueError(f"{rpc} states no access for public rpcs: option ({_OPTION})")
        return Access[name]


def read_access(descriptor: Path, services: Collection[str]) -> Mapping[str, Access]:
    """The access of each rpc of public services; keys such as `/sori.a.v1.AService/GetA`.

    services: their full names. Errors: ValueError if an rpc states none.
    """
    files = FileDescriptorSet.FromString(descriptor.read_bytes())
    option = AccessOption(files)
    return {rpc: option.of(rpc, method.options) for rpc, method in methods(files, services)}


def ignores_invalid_token(rpc: str, access: Access) -> bool:
    """Whether the gateway treats a caller with an invalid access token as one without a token.

    rpc: its path. The rpcs of accounts that everyone may call do: browsers and apps send their
    expired token also when they log in, refresh or log out.
    """
    return access is Access.PUBLIC and rpc.startswith(_ACCOUNTS)


class Callers(Enum):
    """The groups of callers that the gateway's policies distinguish."""

    EVERYONE = "everyone"
    ACCOUNTS_AND_OPERATORS = "accounts_and_operators"
    ACCOUNTS = "accounts"
    CATALOG_EDITORS = "catalog_editors"
    OPERATORS = "operators"


_CALLERS: Mapping[Access, Callers] = {
    Access.PUBLIC: Callers.EVERYONE,
    Access.ANALYSIS_SERVER: Callers.EVERYONE,
    Access.ACCOUNT: Callers.ACCOUNTS,
    Access.CATALOG_EDITOR: Callers.CATALOG_EDITORS,
    Access.OPERATOR: Callers.OPERATORS,
}


def policies(
    access: Mapping[str, Access], *, guests: bool, public_catalog: bool
) -> dict[str, list[str]]:
    """The rpcs that each group of callers may use; without the groups that have none.

    guests: whether callers without an account may do what learners may. public_catalog: whether
    everyone may read the catalog; otherwise those who may do what learners may.
    """
    found: dict[str, list[str]] = {}
    for rpc, callers in _pairs(access, guests=guests, public_catalog=public_catalog):
        found.setdefault(callers.value, []).append(rpc)
    return found


def _pairs(
    access: Mapping[str, Access], *, guests: bool, public_catalog: bool
) -> Iterator[tuple[str, Callers]]:
    learners = Callers.EVERYONE if guests else Callers.ACCOUNTS_AND_OPERATORS
    for rpc, each in access.items():
        is_restricted = each is Access.PUBLIC and rpc.startswith(_CATALOG) and not public_catalog
        yield rpc, learners if each.admits_guests or is_restricted else _CALLERS[each]

"""The caller of an rpc, and whether the contract admits that caller.

The gateway verifies credentials and states the caller in metadata; it removes such metadata of
clients. With mutual TLS, only the gateway's certificate makes a service believe them, and the
name in the certificate of another service of the suite identifies that service. Without it, as
in the local stack, a call that did not pass the gateway is trusted.
"""

from __future__ import annotations

import hashlib
import inspect
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from services.runtime.handlers import WrappedHandlers, inside, is_own_method, with_behaviour
from services.runtime.interceptors import Context, call_metadata
from services.runtime.shared_errors import CredentialsMissing, RoleMissing
from sori.access.v1 import access_pb2
from sori.access.v1.access_pb2 import Access

GATEWAY = "gateway"
"""The name in the gateway's certificate."""

CALLER = "x-sori-caller"
"""Metadata of the gateway: "nobody", "guest" or "account"."""
ACCOUNT = "x-sori-account"
"""Metadata of the gateway: the id of the account."""
ROLES = "x-sori-roles"
"""Metadata of the gateway: the caller's roles, separated by spaces."""
GUEST_TOKEN = "x-sori-guest-token"  # noqa: S105 (a name)
"""Metadata of the gateway: the secret of a guest."""

CATALOG_EDITOR = "catalog_editor"
OPERATOR = "operator"

_GUEST_PREFIX = "guest:"
_SAN = "x509_subject_alternative_name"
_ROLES_OF = {
    Access.ACCESS_CATALOG_EDITOR: CATALOG_EDITOR,
    Access.ACCESS_OPERATOR: OPERATOR,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of an rpc.

    owner_id: the owner of what the caller creates: the id of an account, or that of a guest;
        empty for callers without either. roles: what the caller may do. is_account: whether it
        has an account. is_trusted: whether the caller is part of the suite, or reached the
        service without the gateway where there is no mutual TLS. service: the name of the
        calling service where its certificate states it.
    """

    owner_id: str = ""
    roles: frozenset[str] = field(default_factory=frozenset)
    is_account: bool = False
    is_trusted: bool = False
    service: str = ""

    @property
    def is_operator(self) -> bool:
        """Whether the caller may see and change what belongs to others."""
        return self.is_trusted or OPERATOR in self.roles

    def may_use(self, owner_id: str | None, *, guests: bool) -> bool:
        """Whether a resource exists for the caller.

        owner_id: of the resource; None for those from before accounts. guests: whether guests
        are admitted. Then the id of a resource without an account is a permission to use it.
        """
        if self.is_operator or (owner_id and owner_id == self.owner_id):
            return True
        return guests and (not owner_id or owner_id.startswith(_GUEST_PREFIX))


def guest_owner_id(token: str) -> str:
    """The owner id of the guest who has this secret."""
    digest = hashlib.sha256(token.encode()).digest()[:18]
    return _GUEST_PREFIX + urlsafe_b64encode(digest).decode()


def caller_of(context: Context) -> Caller:
    """The caller of the rpc."""
    return _caller(call_metadata(context), _certificate_names(context))


def _caller(metadata: Mapping[str, str], certificate_names: frozenset[str] | None) -> Caller:
    """certificate_names: of the peer; None without mutual TLS."""
    if certificate_names is not None and GATEWAY not in certificate_names:
        return Caller(service=min(certificate_names, key=len, default=""))
    kind = metadata.get(CALLER)
    if kind is None and certificate_names is None:
        return Caller(is_trusted=True)
    roles = frozenset(metadata.get(ROLES, "").split())
    if kind == "account":
        return Caller(metadata.get(ACCOUNT, ""), roles, is_account=True)
    token = metadata.get(GUEST_TOKEN, "") if kind == "guest" else ""
    return Caller(guest_owner_id(token) if token else "", roles)


def _certificate_names(context: Context) -> frozenset[str] | None:
    """The DNS names in the peer's certificate; None without mutual TLS."""
    names = context.auth_context().get(_SAN)
    return None if names is None else frozenset(name.decode() for name in names)


@dataclass(frozen=True)
class Rule:
    """The access rule of an rpc. callers: the services that call it."""

    access: int
    callers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, method: MethodDescriptor) -> Rule:
        """The rule that the contract states."""
        options = method.GetOptions().Extensions
        return cls(options[access_pb2.access], frozenset(options[access_pb2.callers]))

    def check(self, caller: Caller, *, guests: bool) -> None:
        """Errors: CredentialsMissing, RoleMissing."""
        is_exempt = self.access in (Access.ACCESS_PUBLIC, Access.ACCESS_ANALYSIS_SERVER)
        if is_exempt or caller.is_trusted or (caller.service and caller.service in self.callers):
            return
        if self.access == Access.ACCESS_INTERNAL or caller.service:
            raise RoleMissing(role="internal")
        if self.access == Access.ACCESS_ACCOUNT:
            if not caller.is_account:
                raise CredentialsMissing
            return
        if OPERATOR in caller.roles:
            return
        role = _ROLES_OF.get(self.access)
        if role is None:
            if not caller.is_account and not guests:
                raise CredentialsMissing
        elif role not in caller.roles:
            raise RoleMissing(role=role) if caller.is_account else CredentialsMissing


class AccessCheck(grpc.aio.ServerInterceptor):
    """Refuses the calls that the contract does not allow.

    The gateway refuses them first; this protects the services if it is misconfigured.
    """

    def __init__(self, *, guests: bool, public_catalog: bool = True) -> None:
        """guests: whether guests are admitted. public_catalog: whether everyone may read it."""
        self._guests = guests
        self._public_catalog = public_catalog
        self._wrapped = WrappedHandlers(self._checked)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Check the calls of a handler; it may be unary or streaming."""
        handler = await continuation(handler_call_details)
        return handler and self._wrapped.of(handler_call_details.method, handler)

    def _checked(self, method: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        if is_own_method(method):
            checked: grpc.RpcMethodHandler[Any, Any] = handler
            return checked
        rule = rule_of(method)
        if rule.access == Access.ACCESS_PUBLIC and not self._public_catalog:
            rule = Rule(Access.ACCESS_LEARNER, rule.callers)

        def check(_: Any, context: Context) -> nullcontext[None]:
            rule.check(caller_of(context), guests=self._guests)
            return nullcontext()

        return with_behaviour(
            handler,
            lambda behaviour: inside(
                check, behaviour, yields=inspect.isasyncgenfunction(behaviour)
            ),
        )


def rule_of(method: str) -> Rule:
    """The rule of an rpc, given by its path, such as `/sori.catalog.v1.CatalogService/GetToken`."""
    service, _, name = method.lstrip("/").partition("/")
    descriptor = descriptor_pool.Default().FindServiceByName(service)
    return Rule.of(descriptor.methods_by_name[name])

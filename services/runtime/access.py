"""The caller of an rpc, and whether the contract lets it use the rpc.

The gateway verifies credentials and states the caller in metadata; it removes such metadata of
clients. With mutual TLS, only the gateway's certificate makes a service believe them, and the
names in the certificate of another service of the suite identify that service. A program with
the certificate of the called service itself, such as its command-line tool, is trusted. Without
mutual TLS, as in the local stack, a call that did not pass the gateway is trusted.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from services.registry import SERVICES
from services.runtime.callers import (
    CATALOG_EDITOR,
    MAX_OWNER_ID_LENGTH,
    OPERATOR,
    TRUSTED,
    Caller,
    guest_owner_id,
    is_guest,
    is_guest_token,
)
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

_SAN = "x509_subject_alternative_name"
_SECURITY = "transport_security_type"
_SERVICE_OF = {
    program: service.name
    for service in SERVICES
    for program in (*service.programs, *service.deployments)
}
"""The services by the names of their programs and deployments, some of which have certificates."""

# The attributes of a protobuf enum are slow.
_ACCOUNTS_ONLY = Access.ACCESS_ACCOUNT
_SERVICE_OF_PROTO = {name: service.name for service in SERVICES for name in service.proto_services}

_OPEN_TO_ALL = (Access.ACCESS_PUBLIC, Access.ACCESS_ANALYSIS_SERVER)
_ROLES_OF: dict[int, str] = {
    Access.ACCESS_CATALOG_EDITOR: CATALOG_EDITOR,
    Access.ACCESS_OPERATOR: OPERATOR,
}
_OF_PEOPLE = (
    *(Access.ACCESS_LEARNER, Access.ACCESS_OWNER, Access.ACCESS_ACCOUNT),
    *_ROLES_OF,
)


_NOBODY = Caller()
_UNKNOWN_PEER = frozenset({"unknown"})

_known: contextvars.ContextVar[tuple[Context, Caller] | None] = contextvars.ContextVar(
    "caller", default=None
)


def caller_of(context: Context) -> Caller:
    """The caller of the rpc, found out once for each call."""
    known = _known.get()
    if known is not None and known[0] is context:
        return known[1]
    caller = _caller(call_metadata(context), _certificate_names(context))
    _known.set((context, caller))
    return caller


def _caller(metadata: Mapping[str, str], certificate_names: Iterable[str] | None) -> Caller:
    """certificate_names: of the peer; None without mutual TLS."""
    kind = metadata.get(CALLER)
    # A certificate may have the names of all programs; the gateway always states the caller.
    if certificate_names is not None and (kind is None or GATEWAY not in certificate_names):
        names = {_SERVICE_OF.get(each, each) for each in certificate_names if each != GATEWAY}
        return Caller(services=frozenset(names) or _UNKNOWN_PEER)
    if kind is None:
        return TRUSTED
    roles = frozenset(metadata.get(ROLES, "").split())
    if kind == "account":
        account = metadata.get(ACCOUNT, "")
        return Caller(account, roles, is_account=True) if _is_account_id(account) else _NOBODY
    if kind == "guest":
        token = metadata.get(GUEST_TOKEN, "")
        return Caller(guest_owner_id(token) if is_guest_token(token) else "", roles)
    return Caller(roles=roles) if kind == "nobody" else _NOBODY


def _is_account_id(text: str) -> bool:
    return 0 < len(text) <= MAX_OWNER_ID_LENGTH and not is_guest(text)


def _certificate_names(context: Context) -> list[str] | None:
    """The names in the peer's certificate; None without mutual TLS."""
    properties = context.auth_context()
    if b"ssl" not in properties.get(_SECURITY, ()):
        return None
    return [name.decode() for name in properties.get(_SAN, ())]


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

    @property
    def is_open(self) -> bool:
        """Whether everyone may call the rpc, or the rpc checks its caller itself."""
        return self.access in _OPEN_TO_ALL

    def check(self, caller: Caller, *, guests: bool) -> None:
        """Refuse a caller who may not call the rpc. guests: whether guests are admitted.

        Errors: CredentialsMissing, RoleMissing.
        """
        if self.is_open or caller.is_trusted or not self.callers.isdisjoint(caller.services):
            return
        # An rpc without a rule is for nobody.
        if caller.services or self.access not in _OF_PEOPLE:
            raise RoleMissing(role="internal")
        if not self._admits(caller, guests):
            role = _ROLES_OF.get(self.access)
            raise RoleMissing(role=role) if role and caller.is_account else CredentialsMissing

    def _admits(self, caller: Caller, guests: bool) -> bool:
        """Whether a person may call the rpc."""
        if self.access == _ACCOUNTS_ONLY:
            return caller.is_account
        if OPERATOR in caller.roles:
            return True
        role = _ROLES_OF.get(self.access)
        return guests or caller.is_account if role is None else role in caller.roles


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
        unchecked: grpc.RpcMethodHandler[Any, Any] = handler
        if is_own_method(method):
            return unchecked
        rule = rule_of(method)
        own = _SERVICE_OF_PROTO.get(method.lstrip("/").partition("/")[0], "")
        if rule.access == Access.ACCESS_PUBLIC and not self._public_catalog:
            rule = Rule(Access.ACCESS_LEARNER, rule.callers)
        if rule.is_open:
            return unchecked

        def check(_: Any, context: Context) -> nullcontext[None]:
            caller = caller_of(context)
            if own in caller.services:
                _known.set((context, TRUSTED))
            else:
                rule.check(caller, guests=self._guests)
            return _NO_SCOPE

        return with_behaviour(
            handler,
            lambda behaviour: inside(
                check, behaviour, yields=inspect.isasyncgenfunction(behaviour)
            ),
        )


_NO_SCOPE = nullcontext()


def rule_of(method: str) -> Rule:
    """The rule of an rpc, given by its path, such as `/sori.catalog.v1.CatalogService/GetToken`."""
    service, _, name = method.lstrip("/").partition("/")
    descriptor = descriptor_pool.Default().FindServiceByName(service)
    return Rule.of(descriptor.methods_by_name[name])

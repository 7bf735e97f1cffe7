"""Print the page of who may call each rpc: `python -m services.runtime.access_page`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from services.registry import SERVICES
from services.runtime.access import Rule
from services.runtime.callers import CATALOG_EDITOR, OPERATOR, Caller
from services.runtime.shared_errors import CredentialsMissing, RoleMissing

# The pool knows the services of imported modules only.
from sori.access.v1.access_pb2 import Access
from sori.accounts.v1 import accounts_pb2 as _accounts  # noqa: F401
from sori.analysis.v1 import analysis_pb2 as _analysis  # noqa: F401
from sori.catalog.v1 import catalog_pb2 as _catalog  # noqa: F401
from sori.upload.v1 import tus_pb2 as _tus  # noqa: F401
from sori.upload.v1 import upload_pb2 as _upload  # noqa: F401

HEAD = """# Who may call each rpc
`make access` generates this page from the contract (`protos/sori/access/v1/access.proto`); a test
checks that it is current. [Accounts](accounts.md) explains the callers.

| caller | meaning |
| --- | --- |
| nobody | sends no credentials; the resource belongs to a guest |
| guest | has a guest token; the resource belongs to this guest |
| learner | has an account; the resource belongs to a guest |
| owner | has an account, to which the resource belongs |
| other | has an account; the resource belongs to another one |
| editor | has an account with the role `catalog_editor`; the resource belongs to another one |
| operator | has an account with the role `operator`; the resource belongs to another one |
| analysis server | has only the signature in the `webhook_url` of a job |
| service | with mutual TLS, another service of the suite calls directly; its certificate names it |

Only where the access is `OWNER` does a rpc name a resource that belongs to somebody.

The status is that of HTTP, and "yes" any other than these: 401 is `UNAUTHENTICATED` in gRPC, 403
`PERMISSION_DENIED`, 404 `NOT_FOUND`. "–": the gateway does not expose the rpc.

With `GUESTS_ADMITTED=false`, "nobody" and "guest" get 401 where the access is `LEARNER` or `OWNER`.
With `CATALOG_PUBLIC=false`, the rpcs of the catalog that are `PUBLIC` are `LEARNER`.
"""
_ACCOUNT = "9f0c"
_GUEST = "guest:9f0c"
_OTHER = "5e1a"
_NO_RPC = "–"


@dataclass(frozen=True)
class Column:
    """A kind of caller. owner_id: the owner of the resource that it names."""

    title: str
    caller: Caller
    owner_id: str = _OTHER


ANALYSIS_SERVER = Column("analysis server", Caller(), _GUEST)
COLUMNS = (
    Column("nobody", Caller(), _GUEST),
    Column("guest", Caller(_GUEST), _GUEST),
    Column("learner", Caller(_ACCOUNT, is_account=True), _GUEST),
    Column("owner", Caller(_ACCOUNT, is_account=True), _ACCOUNT),
    Column("other", Caller(_ACCOUNT, is_account=True)),
    Column("editor", Caller(_ACCOUNT, frozenset({CATALOG_EDITOR}), is_account=True)),
    Column("operator", Caller(_ACCOUNT, frozenset({OPERATOR}), is_account=True)),
    ANALYSIS_SERVER,
)
"""The callers from outside."""


def page() -> str:
    """The page in Markdown: a table for each proto service."""
    pool = descriptor_pool.Default()
    names = [name for service in SERVICES for name in service.proto_services]
    tables = (_table(name, pool.FindServiceByName(name).methods) for name in names)
    return HEAD + "".join(tables)


def _table(service: str, methods: Iterable[MethodDescriptor]) -> str:
    titles = ["rpc", "HTTP", "access", *(each.title for each in COLUMNS), "service"]
    lines = [titles, ["---"] * len(titles), *map(_row, methods)]
    rows = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"\n## {service}\n{rows}"


def _row(method: MethodDescriptor) -> list[str]:
    rule = Rule.of(method)
    access = Access.DESCRIPTOR.values_by_number[rule.access].name.removeprefix("ACCESS_")
    return [
        method.name,
        "<br>".join(f"`{path}`" for path in _paths(method)),
        access,
        *(outcome(rule, column) for column in COLUMNS),
        _of_services(rule),
    ]


def _of_services(rule: Rule) -> str:
    """The outcome for services: for the callers of the rpc, and for others."""
    callers = ", ".join(sorted(rule.callers))
    others = outcome_of_service(rule, "another")
    if not callers:
        return others
    return f"yes ({callers})" if others == "yes" else f"{callers}: yes, others: {others}"


def outcome_of_service(rule: Rule, name: str) -> str:
    """The HTTP status for a service that calls another one directly, or "yes"."""
    if rule.access == Access.ACCESS_ANALYSIS_SERVER:
        return "401"
    try:
        rule.check(Caller(services=frozenset({name})), guests=True)
    except RoleMissing:
        return "403"
    return "yes"


def outcome(rule: Rule, column: Column) -> str:
    """The HTTP status for a kind of caller, "yes", or "–" if the gateway hides the rpc."""
    if rule.access == Access.ACCESS_INTERNAL:
        return _NO_RPC
    if rule.access == Access.ACCESS_ANALYSIS_SERVER:
        return "yes" if column is ANALYSIS_SERVER else "401"
    try:
        rule.check(column.caller, guests=True)
    except CredentialsMissing:
        return "401"
    except RoleMissing:
        return "403"
    is_owners = rule.access == Access.ACCESS_OWNER
    if is_owners and not column.caller.may_use(column.owner_id, guests=True):
        return "404"
    return "yes"


def _paths(method: MethodDescriptor) -> Iterator[str]:
    """The HTTP methods and paths of an rpc."""
    first = method.GetOptions().Extensions[annotations_pb2.http]
    for rule in (first, *first.additional_bindings):
        kind = rule.WhichOneof("pattern")
        if kind == "custom":
            yield f"{rule.custom.kind} {rule.custom.path}"
        elif kind:
            yield f"{kind.upper()} {getattr(rule, kind)}"


if __name__ == "__main__":
    sys.stdout.write(page())

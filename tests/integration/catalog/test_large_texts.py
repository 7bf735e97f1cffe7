"""No text field of any rpc holds up the catalog, however large and unusual the text is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from google.api import field_behavior_pb2

from services.catalog.clients import AnalysisClient
from services.catalog.errors import EtagMismatch
from services.catalog.models import Actor, Script, Token
from services.catalog.servicer import CatalogServicer
from services.catalog.store import CatalogStore
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.runtime.database import Database
from services.runtime.errors import InvalidField
from services.runtime.interceptors import Context
from services.runtime.object_store import ObjectStore
from services.runtime.watch_limit import WatchLimit
from sori.catalog.v1 import catalog_pb2 as pb

ONE_MIB_OF_MARKS = "a" + "\u0315\u0300" * (256 * 1024)
"""`unicodedata.normalize` takes minutes for it."""

ASSET = pb.ReferenceAsset(object_key="references/1/x")
ACTOR = pb.Actor(id=1, name="수지", aliases=["Suzy"])
TOKEN = pb.Token(
    id=1,
    name="건축학개론",
    actor_ids=[1],
    end_time=5,
    reference_assets=pb.ReferenceAssets(
        voice=ASSET, pitch=ASSET, alignment=ASSET, background=ASSET
    ),
)
SCRIPT = pb.Script(id=1, token_id=1, text="어쩌면", end_time=2, words=[pb.Word(text="어쩌면")])

METHODS = [
    method
    for method in pb.DESCRIPTOR.services_by_name["CatalogService"].methods
    if not method.client_streaming
]


@pytest.fixture
async def servicer(catalog: CatalogStore, database: Database) -> CatalogServicer:
    """A catalog with one actor, token and script. Its requests need no other service."""
    actor = await catalog.actors.create(Actor("수지"))
    token = await catalog.tokens.create(Token("건축학개론", (actor.id or 0,), "", "", 0, 5))
    await catalog.scripts.create(Script(token.id or 0, "어쩌면", "", "", 0, 2))
    return CatalogServicer(
        catalog,
        cast(ObjectStore, None),
        cast(AnalysisClient, None),
        ViewCounter(catalog.tokens, 60),
        TokenWatch(catalog.changes, database, 60),
        WatchLimit(per_client=0, total=0),
    )


def text_fields(descriptor: Any) -> Iterator[list[Any]]:
    """The paths of all settable text fields of a message."""
    for field in descriptor.fields:
        behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.OUTPUT_ONLY in behaviours:
            continue
        if field.type == field.TYPE_STRING:
            yield [field]
        elif field.message_type is not None:
            yield from ([field, *path] for path in text_fields(field.message_type))


def valid_request(method: Any) -> Any:
    """A request for the resources of the fixture."""
    request = getattr(pb, method.input_type.name)()
    for name, value in (("actor", ACTOR), ("token", TOKEN), ("script", SCRIPT)):
        if name in method.input_type.fields_by_name:
            getattr(request, name).CopyFrom(value)
    if "id" in method.input_type.fields_by_name:
        request.id = 1
    if "force" in method.input_type.fields_by_name:
        request.force = True
    return request


def with_text(method: Any, path: list[Any], text: str) -> tuple[Any, str]:
    """A request with the text in one field, and the path of the field in violations."""
    request = message = valid_request(method)
    names = []
    for field in path[:-1]:
        message = getattr(message, field.name)
        names.append(field.name)
        if field.is_repeated:
            message = message[0]
            names[-1] += "[0]"
    last = path[-1]
    if last.is_repeated:
        getattr(message, last.name)[:] = [text]
        names.append(f"{last.name}[0]")
    else:
        setattr(message, last.name, text)
        names.append(last.name)
    return request, "update_mask" if names[0] == "update_mask" else ".".join(names)


class LocalCall:
    """The caller as an rpc sees it: without an address, in the same process."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def peer(self) -> str:
        return "unix:"


async def call(servicer: CatalogServicer, method: Any, request: Any) -> None:
    """Call the rpc, and read the first response of a stream."""
    response = getattr(servicer, method.name)(request, cast(Context, LocalCall()))
    await (anext(response) if method.server_streaming else response)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
async def test_every_text_field_of_every_rpc_is_bounded_before_it_is_normalised(
    servicer: CatalogServicer, method: Any
) -> None:
    for path in text_fields(method.input_type):
        request, field = with_text(method, path, ONE_MIB_OF_MARKS)
        if path[-1].name == "etag":
            if not method.name.startswith("Create"):
                with pytest.raises(EtagMismatch):
                    await call(servicer, method, request)
            continue
        with pytest.raises(InvalidField) as error:
            await call(servicer, method, request)
        assert [each.field for each in error.value.violations] == [field]

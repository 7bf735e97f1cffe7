"""The CatalogService: protobuf in, domain call, protobuf out."""

from __future__ import annotations

from dataclasses import astuple

from services.catalog import messages, rules
from services.catalog.resources import ReferenceAssets
from services.catalog.store import CatalogStore
from services.runtime.calls import Context
from services.runtime.objects import ObjectStore
from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc

ASSET_URL_SECONDS = 3600


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Creates and reads actors, tokens and scripts."""

    def __init__(self, store: CatalogStore, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects

    async def CreateActor(self, request: pb.CreateActorRequest, context: Context) -> pb.Actor:
        actor = messages.actor_from(request.actor)
        rules.check_actor(actor)
        return messages.actor_to(await self._store.create_actor(actor))

    async def GetActor(self, request: pb.GetActorRequest, context: Context) -> pb.Actor:
        rules.check_id("id", request.id)
        return messages.actor_to(await self._store.get_actor(request.id))

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.Token:
        token = messages.token_from(request.token)
        rules.check_token(token)
        return messages.token_to(await self._store.create_token(token), {})

    async def GetToken(self, request: pb.GetTokenRequest, context: Context) -> pb.Token:
        rules.check_id("id", request.id)
        full = request.view == pb.TOKEN_VIEW_FULL
        token = await self._store.get_token(request.id, with_scripts=full)
        urls = await self._presigned_urls(token.reference_assets) if full else {}
        return messages.token_to(token, urls)

    async def CreateScript(self, request: pb.CreateScriptRequest, context: Context) -> pb.Script:
        script = messages.script_from(request.script)
        rules.check_script(script)
        return messages.script_to(await self._store.create_script(script))

    async def GetScript(self, request: pb.GetScriptRequest, context: Context) -> pb.Script:
        rules.check_id("id", request.id)
        return messages.script_to(await self._store.get_script(request.id))

    async def _presigned_urls(self, assets: ReferenceAssets) -> dict[str, str]:
        return {
            key: await self._objects.presigned_url(key, ASSET_URL_SECONDS)
            for key in astuple(assets)
            if key is not None
        }

"""Rpcs of actors."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from services.catalog import converters, validation
from services.catalog.models import Actor
from services.catalog.servicer.common import create_options, match_limit, search_query, split_page
from services.catalog.slices import map_in_slices
from services.catalog.store import ActorStore, Search
from services.runtime.field_masks import apply_update
from services.runtime.interceptors import Context
from services.runtime.paging import page_size_of, page_token, position_of
from sori.catalog.v1 import catalog_pb2 as pb


class ActorRpcs:
    """Creates, reads, lists, searches, updates and deletes actors."""

    def __init__(self, actors: ActorStore, search: Search) -> None:
        self._actors = actors
        self._search = search

    async def CreateActor(self, request: pb.CreateActorRequest, context: Context) -> pb.Actor:
        actor = converters.actor_from(request.actor)
        validation.check_actor(actor)
        options = create_options(request, converters.actor_to(actor))
        return converters.actor_to(await self._actors.create(actor, options))

    async def GetActor(self, request: pb.GetActorRequest, context: Context) -> pb.Actor:
        validation.check_id("id", request.id)
        return converters.actor_to(await self._actors.get(request.id))

    async def BatchGetActors(
        self, request: pb.BatchGetActorsRequest, context: Context
    ) -> pb.BatchGetActorsResponse:
        validation.check_ids(request.ids)
        found = await self._actors.get_many(request.ids)
        return pb.BatchGetActorsResponse(actors=await map_in_slices(converters.actor_to, found))

    async def ListActors(
        self, request: pb.ListActorsRequest, context: Context
    ) -> pb.ListActorsResponse:
        size = page_size_of(request.page_size)
        (after_id,) = position_of(request, int) or (0,)
        page, last = split_page(await self._actors.page(size + 1, int(after_id)), size)
        response = pb.ListActorsResponse(actors=await map_in_slices(converters.actor_to, page))
        if last is not None:
            response.next_page_token = page_token(request, [last.id or 0])
        return response

    async def UpdateActor(self, request: pb.UpdateActorRequest, context: Context) -> pb.Actor:
        validation.check_id("actor.id", request.actor.id)
        validation.check_counts("actor", request.actor)

        def change(actor: Actor) -> Actor:
            message = apply_update(converters.actor_to(actor), request.actor, request.update_mask)
            changed = converters.updated_actor(actor, message)
            validation.check_actor(changed)
            return changed

        return converters.actor_to(
            await self._actors.update(
                request.actor.id, request.actor.etag, change, validate_only=request.validate_only
            )
        )

    async def DeleteActor(self, request: pb.DeleteActorRequest, context: Context) -> Empty:
        validation.check_id("id", request.id)
        await self._actors.delete(
            request.id, request.etag, force=request.force, validate_only=request.validate_only
        )
        return Empty()

    async def SearchActors(
        self, request: pb.SearchActorsRequest, context: Context
    ) -> pb.SearchActorsResponse:
        query = search_query(request.query)
        found = await self._search.actors(query, match_limit(request.page_size))
        return pb.SearchActorsResponse(
            matches=[
                pb.ActorMatch(actor=converters.actor_to(actor), match=converters.match_to(match))
                for actor, match in found
            ]
        )

"""Rpcs of scripts."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from services.catalog import converters, validation
from services.catalog.models import Script
from services.catalog.servicer.common import create_options, split_page
from services.catalog.slices import map_in_slices
from services.catalog.store import ScriptStore
from services.runtime.field_masks import apply_update
from services.runtime.interceptors import Context
from services.runtime.paging import page_size_of, page_token, position_of
from sori.catalog.v1 import catalog_pb2 as pb


class ScriptRpcs:
    """Creates, reads, lists, updates and deletes scripts."""

    def __init__(self, scripts: ScriptStore) -> None:
        self._scripts = scripts

    async def CreateScript(self, request: pb.CreateScriptRequest, context: Context) -> pb.Script:
        script = converters.script_from(request.script)
        validation.check_script(script)
        options = create_options(request, converters.script_to(script))
        return converters.script_to(await self._scripts.create(script, options))

    async def GetScript(self, request: pb.GetScriptRequest, context: Context) -> pb.Script:
        validation.check_id("id", request.id)
        return converters.script_to(await self._scripts.get(request.id))

    async def BatchGetScripts(
        self, request: pb.BatchGetScriptsRequest, context: Context
    ) -> pb.BatchGetScriptsResponse:
        validation.check_ids(request.ids)
        found = await self._scripts.get_many(request.ids)
        return pb.BatchGetScriptsResponse(scripts=await map_in_slices(converters.script_to, found))

    async def ListScripts(
        self, request: pb.ListScriptsRequest, context: Context
    ) -> pb.ListScriptsResponse:
        validation.check_optional_id("token_id", request.token_id)
        size = page_size_of(request.page_size)
        start, after_id = position_of(request, float, int) or (-1.0, 0)
        if request.token_id:
            position = (float(start), int(after_id))
            found = await self._scripts.page_of_token(request.token_id, size + 1, position)
        else:
            found = await self._scripts.page(size + 1, int(after_id))
        page, last = split_page(found, size)
        response = pb.ListScriptsResponse(scripts=await map_in_slices(converters.script_to, page))
        if last is not None:
            response.next_page_token = page_token(request, [last.start_time, last.id or 0])
        return response

    async def UpdateScript(self, request: pb.UpdateScriptRequest, context: Context) -> pb.Script:
        validation.check_id("script.id", request.script.id)
        validation.check_counts("script", request.script)

        def change(script: Script) -> Script:
            message = apply_update(
                converters.script_to(script), request.script, request.update_mask
            )
            changed = converters.updated_script(script, message)
            validation.check_script(changed)
            return changed

        return converters.script_to(
            await self._scripts.update(
                request.script.id,
                request.script.etag,
                change,
                validate_only=request.validate_only,
            )
        )

    async def DeleteScript(self, request: pb.DeleteScriptRequest, context: Context) -> Empty:
        validation.check_id("id", request.id)
        await self._scripts.delete(request.id, request.etag, validate_only=request.validate_only)
        return Empty()

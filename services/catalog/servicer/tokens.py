"""Rpcs of tokens."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from google.protobuf.empty_pb2 import Empty

from services.catalog import converters, shuffle, validation
from services.catalog.clients import AnalysisClient
from services.catalog.errors import TokenInUse
from services.catalog.models import Token, TokenFilter, TokenOrder
from services.catalog.page_messages import PageMessages
from services.catalog.servicer.common import create_options, match_limit, search_query, split_page
from services.catalog.slices import map_in_slices
from services.catalog.store import Ring, Search, TokenPages, TokenStore
from services.catalog.token_messages import TokenMessages
from services.catalog.token_watch import TokenWatch
from services.catalog.view_counter import ViewCounter
from services.runtime.client_address import client_key
from services.runtime.field_masks import apply_update
from services.runtime.interceptors import Context
from services.runtime.paging import page_size_of, page_token, position_of
from services.runtime.text import nfc
from services.runtime.watch_limit import WatchLimit
from sori.catalog.v1 import catalog_pb2 as pb

_MAX_INT32 = 2**31 - 1


class TokenRpcs:
    """Creates, reads, lists, searches, updates, deletes and watches tokens, and counts views."""

    def __init__(
        self,
        tokens: TokenStore,
        pages: TokenPages,
        search: Search,
        messages: TokenMessages,
        page_messages: PageMessages,
        analysis: AnalysisClient,
        view_counter: ViewCounter,
        watch: TokenWatch,
        watch_limit: WatchLimit,
    ) -> None:
        self._tokens = tokens
        self._pages = pages
        self._search = search
        self._messages = messages
        self._page_messages = page_messages
        self._analysis = analysis
        self._view_counter = view_counter
        self._watch = watch
        self._watch_limit = watch_limit

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.Token:
        token = converters.token_from(request.token)
        validation.check_token(token)
        options = create_options(request, converters.token_to(token))
        return converters.token_to(await self._tokens.create(token, options))

    async def GetToken(self, request: pb.GetTokenRequest, context: Context) -> Any:
        validation.check_id("id", request.id)
        # A `Serialized`, which the interceptor accepts and the stubs do not know.
        return await self._messages.get(request.id, is_full=request.view == pb.TOKEN_VIEW_FULL)

    async def BatchGetTokens(
        self, request: pb.BatchGetTokensRequest, context: Context
    ) -> pb.BatchGetTokensResponse:
        validation.check_ids(request.ids)
        found = await self._tokens.get_many(request.ids)
        return pb.BatchGetTokensResponse(tokens=await map_in_slices(converters.token_to, found))

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> Any:
        is_random = request.order_by == TokenOrder.SHUFFLED and not request.seed
        if request.page_token or is_random:
            return await self._list(request)
        return await self._page_messages.get(request, self._list)

    async def SearchTokens(self, request: pb.SearchTokensRequest, context: Context) -> Any:
        return await self._page_messages.get(request, self._find)

    async def ListRelatedTokens(
        self, request: pb.ListRelatedTokensRequest, context: Context
    ) -> pb.ListRelatedTokensResponse:
        validation.check_id("id", request.id)
        size = page_size_of(request.page_size)
        views, before_id = position_of(request, int, int) or (_MAX_INT32, _MAX_INT32)
        found = await self._pages.related(request.id, size + 1, (int(views), int(before_id)))
        page, last = split_page(found, size)
        response = pb.ListRelatedTokensResponse(
            tokens=await map_in_slices(converters.token_to, page)
        )
        if last is not None:
            response.next_page_token = page_token(request, [last.view_count, last.id or 0])
        return response

    async def UpdateToken(self, request: pb.UpdateTokenRequest, context: Context) -> pb.Token:
        validation.check_id("token.id", request.token.id)
        validation.check_counts("token", request.token)

        def change(token: Token) -> Token:
            message = apply_update(converters.token_to(token), request.token, request.update_mask)
            changed = converters.updated_token(token, message)
            validation.check_token(changed)
            return changed

        return converters.token_to(
            await self._tokens.update(
                request.token.id, request.token.etag, change, validate_only=request.validate_only
            )
        )

    async def DeleteToken(self, request: pb.DeleteTokenRequest, context: Context) -> Empty:
        validation.check_id("id", request.id)
        await self._tokens.get(request.id)
        if not request.force and await self._analysis.has_analyses(request.id):
            raise TokenInUse(token_id=request.id, users="analyses")
        await self._tokens.delete(
            request.id, request.etag, force=request.force, validate_only=request.validate_only
        )
        return Empty()

    async def RecordTokenView(
        self, request: pb.RecordTokenViewRequest, context: Context
    ) -> pb.RecordTokenViewResponse:
        validation.check_id("id", request.id)
        await self._view_counter.record(request.id)
        return pb.RecordTokenViewResponse()

    async def WatchTokens(
        self, request: pb.WatchTokensRequest, context: Context
    ) -> AsyncIterator[pb.WatchTokensResponse]:
        with self._watch_limit.watch(client_key(context)):
            async with aclosing(self._watch.watch(request.cursor)) as batches:
                async for batch in batches:
                    yield pb.WatchTokensResponse(
                        changes=map(converters.change_to, batch.changes),
                        cursor=batch.cursor,
                        snapshot=batch.is_snapshot,
                    )

    async def _list(self, request: pb.ListTokensRequest) -> pb.ListTokensResponse:
        token_filter = TokenFilter(
            category=nfc(request.category, validation.MAX_CATEGORY_LENGTH),
            actor_id=request.actor_id or None,
            max_duration=request.max_duration or None,
            text=nfc(request.text.strip(), validation.MAX_NAME_LENGTH),
        )
        validation.check_filter(token_filter, request.order_by, request.seed)
        match TokenOrder(request.order_by or TokenOrder.LATEST):
            case TokenOrder.LATEST:
                return await self._latest(request, token_filter)
            case TokenOrder.POPULAR:
                return await self._popular(request, token_filter)
            case TokenOrder.SHUFFLED:
                return await self._shuffled(request, token_filter)

    async def _find(self, request: pb.SearchTokensRequest) -> pb.SearchTokensResponse:
        query = search_query(request.query)
        found = await self._search.tokens(query, match_limit(request.page_size))
        return pb.SearchTokensResponse(
            matches=[
                pb.TokenMatch(token=converters.token_to(token), match=converters.match_to(match))
                for token, match in found
            ]
        )

    async def _latest(
        self, request: pb.ListTokensRequest, token_filter: TokenFilter
    ) -> pb.ListTokensResponse:
        size = page_size_of(request.page_size)
        (before_id,) = position_of(request, int) or (_MAX_INT32,)
        found = await self._pages.latest(token_filter, size + 1, int(before_id))
        page, last = split_page(found, size)
        return await _token_page(request, page, [last.id or 0] if last else None)

    async def _popular(
        self, request: pb.ListTokensRequest, token_filter: TokenFilter
    ) -> pb.ListTokensResponse:
        size = page_size_of(request.page_size)
        views, before_id = position_of(request, int, int) or (_MAX_INT32, _MAX_INT32)
        found = await self._pages.popular(token_filter, size + 1, (int(views), int(before_id)))
        page, last = split_page(found, size)
        return await _token_page(request, page, [last.view_count, last.id or 0] if last else None)

    async def _shuffled(
        self, request: pb.ListTokensRequest, token_filter: TokenFilter
    ) -> pb.ListTokensResponse:
        size = page_size_of(request.page_size)
        position = position_of(request, int, int, int, int)
        if position is None:
            seed = request.seed or secrets.randbelow(_MAX_INT32) + 1
            after = Ring.begin(shuffle.ring_start(seed))
        else:
            seed, is_past_end, last_hash, last_id = map(int, position)
            after = Ring(shuffle.ring_start(seed), bool(is_past_end), last_hash, last_id)
        found = await self._pages.shuffled(token_filter, size + 1, after)
        page, last = split_page(found, size)
        shuffled = shuffle.shuffled([token for _, token in page], seed)
        end = [seed, int(last[0].is_past_end), last[0].hash, last[0].id] if last else None
        return await _token_page(request, shuffled, end)


async def _token_page(
    request: pb.ListTokensRequest, page: Sequence[Token], end: Sequence[int] | None
) -> pb.ListTokensResponse:
    return pb.ListTokensResponse(
        tokens=await map_in_slices(converters.token_to, page),
        next_page_token=page_token(request, end) if end else "",
    )

"""Tokens and their view counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import ARRAY, Integer, bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.errors import ActorNotFound, TokenInUse, id_list
from services.catalog.models import Token
from services.catalog.slices import map_in_slices
from services.catalog.store.idempotency import (
    CreateOptions,
    check_etag,
    find_created,
    record_created,
    write_transaction,
)
from services.catalog.store.rows import (
    lock_token,
    read_token,
    script_of,
    scripts_column,
    select_tokens,
    token_of,
)
from services.catalog.tables import actors, scripts, token_actors, tokens
from services.catalog.validation import check_clip_covers
from services.runtime.database import Database, retried_on_schema_change
from services.runtime.shared_errors import TokenNotFound
from services.runtime.statements import Statement

_ADD_VIEWS = text(
    """
    UPDATE catalog.tokens AS token
    SET view_count = least(token.view_count::bigint + viewed.views, 2147483647)
    FROM unnest(CAST(:ids AS integer[]), CAST(:views AS bigint[])) AS viewed (id, views)
    WHERE token.id = viewed.id
    """
)
_TOKEN = Statement(select_tokens().where(tokens.c.id == bindparam("id")))
_FULL_TOKEN = Statement(
    select_tokens()
    .add_columns(scripts_column().label("scripts"))
    .where(tokens.c.id == bindparam("id"))
)
_TOKENS = Statement(
    select_tokens().where(tokens.c.id == func.any(bindparam("ids", type_=ARRAY(Integer))))
)


@retried_on_schema_change
class TokenStore:
    """Reads and writes tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        token: Token,
        options: CreateOptions = CreateOptions(),  # noqa: B008
    ) -> Token:
        """Insert a token. Errors: ActorNotFound if one of its actors does not exist."""
        async with write_transaction(
            self._database, validate_only=options.validate_only
        ) as connection:
            token_id = await find_created(connection, options)
            if token_id is None:
                await _require_actors(connection, token.actor_ids)
                statement = insert(tokens).values(**_values(token)).returning(tokens.c.id)
                token_id = (await connection.scalars(statement)).one()
                await _write_actors(connection, token_id, token.actor_ids)
                await record_created(connection, options, token_id)
            created = await read_token(connection, token_id)
            return replace(created, id=None) if options.validate_only else created

    async def get(self, token_id: int) -> Token:
        """Read a token without its scripts. Errors: TokenNotFound."""
        async with self._database.connection() as connection:
            row = await _TOKEN.row(connection, id=token_id)
        if row is None:
            raise TokenNotFound(token_id=token_id)
        return token_of(row)

    async def get_with_scripts(self, token_id: int) -> Token:
        """Read a token with its scripts and words, in one statement, so in one snapshot.

        Errors: TokenNotFound.
        """
        async with self._database.connection() as connection:
            row = await _FULL_TOKEN.row(connection, id=token_id)
        if row is None:
            raise TokenNotFound(token_id=token_id)
        return token_of(row, tuple(await map_in_slices(script_of, row["scripts"])))

    async def get_many(self, token_ids: Sequence[int]) -> list[Token]:
        """Read tokens in the order of the ids. Errors: TokenNotFound, with the missing ids."""
        found = await self.get_existing(token_ids)
        if missing := [each for each in token_ids if each not in found]:
            raise TokenNotFound(token_id=id_list(missing))
        return [found[each] for each in token_ids]

    async def get_existing(self, token_ids: Sequence[int]) -> dict[int, Token]:
        """The existing tokens among the ids, by id."""
        async with self._database.connection() as connection:
            rows = await _TOKENS.rows(connection, ids=list(token_ids))
        return {token.id or 0: token for token in await map_in_slices(token_of, rows)}

    async def update(
        self,
        token_id: int,
        etag: str,
        change: Callable[[Token], Token],
        *,
        validate_only: bool = False,
    ) -> Token:
        """Store the token that `change` returns for the current one.

        Errors: TokenNotFound, EtagMismatch, ActorNotFound, InvalidField if the scripts do not
        fit into the new clip.
        """
        async with write_transaction(self._database, validate_only=validate_only) as connection:
            before = await lock_token(connection, token_id)
            check_etag(before, etag)
            after = change(before)
            if after == before:
                return before
            if after.actor_ids != before.actor_ids:
                await _require_actors(connection, after.actor_ids)
                await connection.execute(
                    delete(token_actors).where(token_actors.c.token_id == token_id)
                )
                await _write_actors(connection, token_id, after.actor_ids)
            if after.duration < before.duration:
                check_clip_covers(after, await _last_script_end(connection, token_id))
            await connection.execute(
                update(tokens)
                .where(tokens.c.id == token_id)
                .values(
                    **_values(after),
                    revision=tokens.c.revision
                    + int(after.analysis_inputs != before.analysis_inputs),
                    version=tokens.c.version + 1,
                    update_time=func.clock_timestamp(),
                )
            )
            return await read_token(connection, token_id)

    async def delete(
        self, token_id: int, etag: str, *, force: bool, validate_only: bool = False
    ) -> None:
        """Delete a token with its scripts.

        Errors: TokenNotFound, EtagMismatch, TokenInUse if it has scripts and `force` is not set.
        """
        async with write_transaction(self._database, validate_only=validate_only) as connection:
            check_etag(await lock_token(connection, token_id), etag)
            if not force:
                has_scripts = select(scripts.c.id).where(scripts.c.token_id == token_id).exists()
                if await connection.scalar(select(has_scripts)):
                    raise TokenInUse(token_id=token_id, users="scripts")
            await connection.execute(delete(tokens).where(tokens.c.id == token_id))

    async def add_views(self, views: Mapping[int, int]) -> None:
        """Add views to tokens by id, in one statement. Deleted tokens are skipped."""
        # A fixed lock order, so that two replicas cannot deadlock.
        ids = sorted(views)
        async with self._database.transaction() as connection:
            await connection.execute(
                _ADD_VIEWS, {"ids": ids, "views": [views[each] for each in ids]}
            )


def _values(token: Token) -> dict[str, object]:
    assets = token.reference_assets
    return {
        "name": token.name,
        "category": token.category,
        "source_url": token.source_url,
        "start_time": token.start_time,
        "end_time": token.end_time,
        "voice_key": assets.voice,
        "pitch_key": assets.pitch,
        "alignment_key": assets.alignment,
        "background_key": assets.background,
        "thumbnail_url": token.thumbnail_url,
    }


async def _require_actors(connection: AsyncConnection, actor_ids: Iterable[int]) -> None:
    required = set(actor_ids)
    existing = await connection.scalars(
        # The lock prevents that an actor is deleted before the token refers to it.
        select(actors.c.id)
        .where(actors.c.id.in_(required))
        .order_by(actors.c.id)
        .with_for_update(read=True, key_share=True)
    )
    if missing := required - set(existing):
        raise ActorNotFound(actor_id=id_list(sorted(missing)))


async def _write_actors(
    connection: AsyncConnection, token_id: int, actor_ids: Sequence[int]
) -> None:
    rows = [
        {"token_id": token_id, "position": position, "actor_id": actor_id}
        for position, actor_id in enumerate(actor_ids)
    ]
    await connection.execute(insert(token_actors), rows)


async def _last_script_end(connection: AsyncConnection, token_id: int) -> float:
    statement = select(func.max(scripts.c.end_time)).where(scripts.c.token_id == token_id)
    return await connection.scalar(statement) or 0.0

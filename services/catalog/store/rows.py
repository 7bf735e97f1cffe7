"""Reads tokens, for all parts of the store."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.models import ReferenceAssets, Token
from services.catalog.tables import token_actors, tokens
from services.runtime.shared_errors import TokenNotFound


def select_tokens() -> Select[Any]:
    """The statement that selects tokens with the ids of their actors."""
    actor_ids = (
        select(token_actors.c.actor_id)
        .where(token_actors.c.token_id == tokens.c.id)
        .order_by(token_actors.c.position)
        .scalar_subquery()
    )
    return select(tokens, func.array(actor_ids).label("actor_ids"))


def token_of(row: Row[Any]) -> Token:
    """The token in a row of `select_tokens`."""
    return Token(
        name=row.name,
        actor_ids=tuple(row.actor_ids),
        category=row.category,
        source_url=row.source_url,
        start_time=row.start_time,
        end_time=row.end_time,
        reference_assets=ReferenceAssets(
            row.voice_key, row.pitch_key, row.alignment_key, row.background_key
        ),
        thumbnail_url=row.thumbnail_url,
        view_count=row.view_count,
        revision=row.revision,
        id=row.id,
        create_time=row.create_time,
        update_time=row.update_time,
        version=row.version,
    )


async def read_token(connection: AsyncConnection, token_id: int) -> Token:
    """Read a token without its scripts. Errors: TokenNotFound."""
    statement = select_tokens().where(tokens.c.id == token_id)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise TokenNotFound(token_id=token_id)
    return token_of(row)


async def lock_token(connection: AsyncConnection, token_id: int) -> Token:
    """Read a token and lock it until this transaction ends. Errors: TokenNotFound."""
    await connection.execute(select(tokens.c.id).where(tokens.c.id == token_id).with_for_update())
    return await read_token(connection, token_id)

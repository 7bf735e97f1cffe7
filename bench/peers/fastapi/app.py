"""The application: reads of tokens, and takes."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from bench.peers.fastapi import takes
from bench.peers.fastapi.models import Session, Token, presigned

_PAGE_SIZE = 50


class Model(BaseModel):
    """A response that is read from a row."""

    model_config = ConfigDict(from_attributes=True)


class WordModel(Model):
    """A word of a script."""

    text: str
    start_time: float
    end_time: float
    probability: float | None


class ScriptModel(Model):
    """A sentence of a token."""

    id: int
    text: str
    translation: str
    start_time: float
    end_time: float
    words: list[WordModel]


class TokenModel(Model):
    """A token in a list."""

    id: int
    name: str
    category: str
    source_url: str
    start_time: float
    end_time: float
    view_count: int
    actor_name: str | None


class TokenDetail(TokenModel):
    """A token with its scripts."""

    scripts: list[ScriptModel]
    background_url: str | None


app = FastAPI()


# Before /tokens/{token_id}, which would match it, too.
@app.get("/tokens/search")
def search_tokens(query: str, limit: int = _PAGE_SIZE) -> list[TokenModel]:
    """Tokens whose name contains the query."""
    statement = select(Token).where(Token.name.ilike(f"%{query}%")).order_by(Token.id).limit(limit)
    with Session() as session:
        return [TokenModel.model_validate(token) for token in session.scalars(statement)]


@app.get("/tokens")
def list_tokens(skip: int = 0, limit: int = _PAGE_SIZE) -> list[TokenModel]:
    """One page of tokens."""
    statement = select(Token).order_by(Token.id).offset(skip).limit(limit)
    with Session() as session:
        return [TokenModel.model_validate(token) for token in session.scalars(statement)]


@app.get("/tokens/{token_id}")
def get_token(token_id: int) -> TokenDetail:
    """A token with its scripts."""
    statement = select(Token).where(Token.id == token_id).options(selectinload(Token.scripts))
    with Session() as session:
        token = session.scalars(statement).one_or_none()
        if token is None:
            raise HTTPException(404, "Token not found")
        background_url = presigned(token.background_key) if token.background_key else None
        fields = TokenModel.model_validate(token).model_dump()
        scripts = [ScriptModel.model_validate(script) for script in token.scripts]
        return TokenDetail(**fields, scripts=scripts, background_url=background_url)


app.include_router(takes.router)

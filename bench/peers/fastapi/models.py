"""The tables, the settings and the connections of the peer."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import boto3
from botocore.config import Config
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

CONNECTIONS = 40
BUCKET = os.environ["S3_BUCKET_NAME"]

engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://"),
    pool_size=CONNECTIONS,
    max_overflow=0,
    connect_args={"application_name": "peer"},
)
Session = sessionmaker(engine, expire_on_commit=False)
threads = ThreadPoolExecutor(CONNECTIONS)
s3 = boto3.client(
    "s3",
    endpoint_url=os.environ["S3_ENDPOINT_URL"],
    config=Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        max_pool_connections=CONNECTIONS,
    ),
)


class Base(DeclarativeBase):
    """The base of all tables."""


class Word(Base):
    """A word of a script."""

    __tablename__ = "words"
    __table_args__ = {"schema": "peer"}  # noqa: RUF012 (SQLAlchemy's convention)

    id: Mapped[int] = mapped_column(primary_key=True)
    script_id: Mapped[int] = mapped_column(ForeignKey("peer.scripts.id"))
    text: Mapped[str]
    start_time: Mapped[float]
    end_time: Mapped[float]
    probability: Mapped[float | None]


class Script(Base):
    """A sentence of a token."""

    __tablename__ = "scripts"
    __table_args__ = {"schema": "peer"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("peer.tokens.id"))
    text: Mapped[str]
    translation: Mapped[str]
    start_time: Mapped[float]
    end_time: Mapped[float]
    words: Mapped[list[Word]] = relationship(order_by=Word.id, lazy="selectin")


class Token(Base):
    """A practice clip."""

    __tablename__ = "tokens"
    __table_args__ = {"schema": "peer"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    category: Mapped[str]
    source_url: Mapped[str]
    start_time: Mapped[float]
    end_time: Mapped[float]
    voice_key: Mapped[str | None]
    background_key: Mapped[str | None]
    view_count: Mapped[int]
    actor_name: Mapped[str | None]
    scripts: Mapped[list[Script]] = relationship(order_by=Script.start_time)


class Result(Base):
    """The state of one take's analysis, and its result."""

    __tablename__ = "results"
    __table_args__ = {"schema": "peer"}  # noqa: RUF012

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    token_id: Mapped[int]
    status: Mapped[str]
    progress: Mapped[int]
    message: Mapped[str]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


def presigned(key: str) -> str:
    """A URL by which anyone reads an object for an hour."""
    return str(
        s3.generate_presigned_url(
            "get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=3600
        )
    )

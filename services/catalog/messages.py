"""Between the protobuf messages of the catalog and its resources."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services.catalog.resources import Actor, ReferenceAssets, Script, Token, Word
from sori.catalog.v1 import catalog_pb2 as pb


def actor_from(message: pb.Actor) -> Actor:
    """An actor to create; output-only fields are ignored."""
    return Actor(_nfc(message.name), tuple(map(_nfc, message.aliases)))


def actor_to(actor: Actor) -> pb.Actor:
    """A stored actor."""
    return pb.Actor(
        id=actor.id or 0,
        name=actor.name,
        aliases=actor.aliases,
        create_time=_timestamp(actor.create_time),
    )


def token_from(message: pb.Token) -> Token:
    """A token to create; output-only fields are ignored."""
    return Token(
        name=_nfc(message.name),
        actor_ids=tuple(message.actor_ids),
        category=_nfc(message.category),
        source_url=message.source_url,
        start_time=message.start_time,
        end_time=message.end_time,
        reference_assets=_assets_from(message.reference_assets),
    )


def token_to(token: Token, urls: Mapping[str, str]) -> pb.Token:
    """A stored token; `urls` are the presigned URLs of its assets by object key."""
    return pb.Token(
        id=token.id or 0,
        name=token.name,
        actor_ids=token.actor_ids,
        category=token.category,
        source_url=token.source_url,
        start_time=token.start_time,
        end_time=token.end_time,
        reference_assets=_assets_to(token.reference_assets, urls),
        view_count=token.view_count,
        revision=token.revision,
        scripts=map(script_to, token.scripts),
        create_time=_timestamp(token.create_time),
    )


def script_from(message: pb.Script) -> Script:
    """A script to create; output-only fields are ignored."""
    return Script(
        token_id=message.token_id,
        text=_nfc(message.text),
        translation=_nfc(message.translation),
        language_code=message.language_code,
        start_time=message.start_time,
        end_time=message.end_time,
        words=tuple(
            Word(_nfc(word.text), word.start_time, word.end_time) for word in message.words
        ),
    )


def script_to(script: Script) -> pb.Script:
    """A stored script."""
    return pb.Script(
        id=script.id or 0,
        token_id=script.token_id,
        text=script.text,
        translation=script.translation,
        language_code=script.language_code,
        start_time=script.start_time,
        end_time=script.end_time,
        words=[
            pb.Word(text=word.text, start_time=word.start_time, end_time=word.end_time)
            for word in script.words
        ],
        create_time=_timestamp(script.create_time),
    )


def _assets_from(message: pb.ReferenceAssets) -> ReferenceAssets:
    return ReferenceAssets(
        voice=message.voice.object_key if message.HasField("voice") else None,
        pitch=message.pitch.object_key if message.HasField("pitch") else None,
        alignment=message.alignment.object_key if message.HasField("alignment") else None,
        background=message.background.object_key if message.HasField("background") else None,
    )


def _assets_to(assets: ReferenceAssets, urls: Mapping[str, str]) -> pb.ReferenceAssets:
    return pb.ReferenceAssets(
        voice=_asset_to(assets.voice, urls),
        pitch=_asset_to(assets.pitch, urls),
        alignment=_asset_to(assets.alignment, urls),
        background=_asset_to(assets.background, urls),
    )


def _asset_to(key: str | None, urls: Mapping[str, str]) -> pb.ReferenceAsset | None:
    return None if key is None else pb.ReferenceAsset(object_key=key, url=urls.get(key, ""))


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp

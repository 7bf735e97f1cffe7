"""Converters between the protobuf messages of the catalog and its domain objects.

Text is converted to NFC, the form in which all text is stored. A text that is out of bounds
stays as it is; `validation` refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services.catalog.models import (
    Actor,
    ReferenceAssets,
    Script,
    TextMatch,
    Token,
    TokenChange,
    Word,
    etag_of,
)
from services.catalog.validation import (
    MAX_CATEGORY_LENGTH,
    MAX_NAME_LENGTH,
    MAX_TEXT_LENGTH,
    check_counts,
)
from services.runtime.text import nfc
from services.runtime.times import timestamp_of
from sori.catalog.v1 import catalog_pb2 as pb


def actor_from(message: pb.Actor) -> Actor:
    """The actor that a message describes, without its output-only fields.

    Errors: InvalidField if it has too many aliases.
    """
    check_counts("actor", message)
    aliases = (nfc(alias, MAX_NAME_LENGTH) for alias in message.aliases)
    return Actor(nfc(message.name, MAX_NAME_LENGTH), tuple(aliases))


def actor_to(actor: Actor) -> pb.Actor:
    """The message for an actor."""
    return pb.Actor(
        id=actor.id or 0,
        name=actor.name,
        aliases=actor.aliases,
        token_count=actor.token_count,
        etag=_etag(actor),
        create_time=_timestamp(actor.create_time),
        update_time=_timestamp(actor.update_time),
    )


def updated_actor(actor: Actor, message: pb.Actor) -> Actor:
    """A stored actor with the settable fields of a message."""
    new = actor_from(message)
    return replace(actor, name=new.name, aliases=new.aliases)


def token_from(message: pb.Token) -> Token:
    """The token that a message describes, without its output-only fields.

    Errors: InvalidField if it has too many actors.
    """
    check_counts("token", message)
    return Token(
        name=nfc(message.name, MAX_NAME_LENGTH),
        actor_ids=tuple(message.actor_ids),
        category=nfc(message.category, MAX_CATEGORY_LENGTH),
        source_url=message.source_url,
        start_time=message.start_time,
        end_time=message.end_time,
        reference_assets=_assets_from(message.reference_assets),
        thumbnail_url=message.thumbnail_url,
    )


def updated_token(token: Token, message: pb.Token) -> Token:
    """A stored token with the settable fields of a message."""
    return replace(
        token_from(message),
        view_count=token.view_count,
        revision=token.revision,
        id=token.id,
        create_time=token.create_time,
        update_time=token.update_time,
        version=token.version,
    )


def token_to(token: Token, urls: Mapping[str, str] | None = None) -> pb.Token:
    """The message for a token.

    urls: presigned URLs of the reference assets by object key; default: none.
    """
    return pb.Token(
        id=token.id or 0,
        name=token.name,
        actor_ids=token.actor_ids,
        category=token.category,
        source_url=token.source_url,
        start_time=token.start_time,
        end_time=token.end_time,
        reference_assets=_assets_to(token.reference_assets, urls or {}),
        view_count=token.view_count,
        revision=token.revision,
        scripts=map(script_to, token.scripts),
        thumbnail_url=token.thumbnail_url,
        etag=_etag(token),
        create_time=_timestamp(token.create_time),
        update_time=_timestamp(token.update_time),
    )


def script_from(message: pb.Script) -> Script:
    """The script that a message describes, without its output-only fields.

    Errors: InvalidField if it has too many words.
    """
    check_counts("script", message)
    return Script(
        token_id=message.token_id,
        text=nfc(message.text, MAX_TEXT_LENGTH),
        translation=nfc(message.translation, MAX_TEXT_LENGTH),
        language_code=message.language_code,
        start_time=message.start_time,
        end_time=message.end_time,
        words=tuple(map(_word_from, message.words)),
    )


def updated_script(script: Script, message: pb.Script) -> Script:
    """A stored script with the settable fields of a message."""
    return replace(
        script_from(message),
        id=script.id,
        create_time=script.create_time,
        update_time=script.update_time,
        version=script.version,
    )


def script_to(script: Script) -> pb.Script:
    """The message for a script."""
    return pb.Script(
        id=script.id or 0,
        token_id=script.token_id,
        text=script.text,
        translation=script.translation,
        language_code=script.language_code,
        start_time=script.start_time,
        end_time=script.end_time,
        words=[
            pb.Word(
                text=word.text,
                start_time=word.start_time,
                end_time=word.end_time,
                probability=word.probability,
            )
            for word in script.words
        ],
        etag=_etag(script),
        create_time=_timestamp(script.create_time),
        update_time=_timestamp(script.update_time),
    )


def match_to(match: TextMatch) -> pb.TextMatch:
    """The message for a text that a search found."""
    return pb.TextMatch(
        text=match.text,
        score=match.score,
        highlights=[pb.TextRange(start=start, end=end) for start, end in match.highlights],
    )


def change_to(change: TokenChange) -> pb.TokenChange:
    """The message for a change of a token."""
    return pb.TokenChange(
        token_id=change.token_id, revision=change.revision, deleted=change.deleted
    )


def _word_from(message: pb.Word) -> Word:
    probability = message.probability if message.HasField("probability") else None
    text = nfc(message.text, MAX_NAME_LENGTH)
    return Word(text, message.start_time, message.end_time, probability)


def _etag(resource: Actor | Token | Script) -> str:
    """The etag; empty if the resource was only validated and has no id."""
    return etag_of(resource) if resource.id else ""


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


def _timestamp(time: datetime | None) -> Timestamp | None:
    return None if time is None else timestamp_of(time)

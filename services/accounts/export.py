"""All data of an account as one JSON document, written piece by piece."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from services.accounts import converters
from services.accounts.models import Passkey, Session
from sori.accounts.v1 import accounts_pb2 as pb
from sori.analysis.v1 import analysis_pb2


async def export_document(
    account: pb.Account,
    sessions: Iterable[Session],
    passkeys: Iterable[Passkey],
    analyses: AsyncIterator[analysis_pb2.ExportedAnalysis],
) -> AsyncIterator[bytes]:
    """Yield the document: {"account": …, "sessions": […], "passkeys": […], "analyses": […]}."""
    own = {
        "account": _fields(account),
        "sessions": [_fields(converters.session_to(session)) for session in sessions],
        "passkeys": [_fields(converters.passkey_to(passkey)) for passkey in passkeys],
    }
    # The array of analyses is written into the object after its other members.
    yield json.dumps(own, ensure_ascii=False)[:-1].encode() + b', "analyses": ['
    separator = b"\n"
    async for exported in analyses:
        yield separator + json.dumps(_fields(exported), ensure_ascii=False).encode()
        separator = b",\n"
    yield b"\n]}\n"


def _fields(message: Message) -> dict[str, object]:
    fields: dict[str, object] = MessageToDict(message, preserving_proto_field_name=True)
    return fields

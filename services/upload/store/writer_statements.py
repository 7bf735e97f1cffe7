"""The statements that run for each part, for asyncpg.

Each is one round trip and one transaction, and changes nothing unless its writer is the
current one of the upload.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Integer,
    Text,
    Update,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)

from services.runtime.statements import Statement
from services.runtime.uploaded_part import UploadedPart
from services.upload.models import UploadRecord
from services.upload.state import OPEN, TRANSITIONS, Event, State, Transition
from services.upload.tables import parts, uploads

CLAIM_DURATION = timedelta(seconds=60)
"""How long the reaper, or a session without a heartbeat, has an upload for itself."""


def writer_of(record: UploadRecord) -> dict[str, object]:
    """The parameters that name an upload and its writer."""
    return {"writes_to": record.upload.upload_id, "by_writer": record.writer}


def columns_of_parts(new_parts: Iterable[UploadedPart]) -> dict[str, object]:
    """The parameters with the parts of a checkpoint."""
    each = list(new_parts)
    return {
        "numbers": [part.number for part in each],
        "etags": [part.etag for part in each],
        "checksums": [part.checksum for part in each],
    }


def alive(is_complete: ColumnElement[bool]) -> dict[str, Any]:
    """An upload that is alive expires later, and the reaper handles it when it does.

    A complete one is due soon: its session may die before it hands the upload over.
    """
    expires = func.now() + uploads.c.lifetime
    due = case((is_complete, func.now() + CLAIM_DURATION), else_=expires)
    return {"expire_time": expires, "due_time": due}


def _by_writer(states: Iterable[State]) -> Update:
    return update(uploads).where(
        uploads.c.upload_id == bindparam("writes_to"),
        uploads.c.writer == bindparam("by_writer"),
        uploads.c.state.in_(sorted(states)),
    )


def _checkpoint(transition: Transition) -> Statement:
    """Saves what is durable; returns a row if it did.

    Parameters: those of `writer_of` and `columns_of_parts`; durable_size, state_of_hash,
    media_type and tail_objects of the progress; is_complete, whether all bytes are durable.
    """
    saved = (
        _by_writer(transition.sources)
        .values(
            state=transition.target,
            committed_size=bindparam("durable_size"),
            hash_state=bindparam("state_of_hash"),
            content_type=bindparam("media_type"),
            tail=bindparam("tail_objects"),
            **alive(bindparam("is_complete", type_=Boolean)),
        )
        .returning(uploads.c.upload_id)
        .cte("saved")
    )
    new = func.unnest(
        bindparam("numbers", type_=ARRAY(Integer)),
        bindparam("etags", type_=ARRAY(Text)),
        bindparam("checksums", type_=ARRAY(Text)),
    ).table_valued("number", "etag", "checksum", joins_implicitly=True)
    new = new.render_derived(name="new")
    names = ("upload_id", "number", "etag", "checksum")
    rows = select(saved.c.upload_id, new.c.number, new.c.etag, new.c.checksum)
    inserted = insert(parts).from_select(names, rows).cte("inserted")
    return Statement(select(saved.c.upload_id).add_cte(inserted))


NEXT_PART_NUMBER = Statement(
    _by_writer(OPEN)
    .values(next_part=uploads.c.next_part + 1)
    .returning((uploads.c.next_part - 1).label("number"))
)
"""A part number that no part has had. Parameters: those of `writer_of`."""

CHECKPOINTS = {
    event: _checkpoint(TRANSITIONS[event]) for event in (Event.CHECKPOINTED, Event.ALL_STORED)
}
"""By the event that the checkpoint is."""

"""Converting rows to domain objects, and plans to columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.uploaded_part import UploadedPart
from services.upload.models import AssetKind, Kind, Plan, Progress, TailObject, Upload, UploadRecord
from services.upload.state import State
from services.upload.tables import parts, uploads

# The clocks of hosts may differ, so only PostgreSQL's clock tells whether an upload has expired.
UPLOAD_COLUMNS = (uploads, (uploads.c.expire_time <= func.now()).label("is_expired"))

AnyRow = Any
"""A row that has UPLOAD_COLUMNS; SQLAlchemy cannot type it."""


async def with_parts(connection: AsyncConnection, row: AnyRow) -> UploadRecord:
    """The upload in a row, with the parts that S3 has."""
    record = record_of(row)
    if record.s3_upload_id is None:
        return record
    found = (
        select(parts.c.number, parts.c.etag, parts.c.checksum)
        .where(parts.c.upload_id == row.upload_id)
        .order_by(parts.c.number)
    )
    sent = tuple(UploadedPart(*each) for each in await connection.execute(found))
    return replace(record, progress=replace(record.progress, parts=sent))


def columns_of(plan: Plan) -> dict[str, Any]:
    """The columns of a new upload that its plan fills."""
    return {
        "kind": plan.kind,
        "token_id": plan.token_id,
        "asset_kind": plan.asset_kind or "",
        "file_name": plan.file_name,
        "client_metadata": plan.client_metadata,
        "client_concat": plan.client_concat,
        "is_concatenation": plan.is_concatenation,
        "request_id": plan.request_id or None,
        "client": plan.client,
        "owner_id": plan.owner_id or None,
        "size": plan.size,
        "sha256": plan.sha256,
        "ends_at_size": plan.ends_at_size,
        "resumable": plan.resumable,
    }


def plan_of(row: AnyRow) -> Plan:
    """The plan of the upload in a row."""
    return Plan(
        kind=Kind(row.kind),
        token_id=row.token_id,
        file_name=row.file_name,
        size=row.size,
        sha256=row.sha256,
        request_id=row.request_id or "",
        client=row.client,
        owner_id=row.owner_id or "",
        ends_at_size=row.ends_at_size,
        client_metadata=row.client_metadata,
        client_concat=row.client_concat,
        is_concatenation=row.is_concatenation,
        asset_kind=AssetKind(row.asset_kind) if row.asset_kind else None,
        resumable=row.resumable,
    )


def record_of(row: AnyRow) -> UploadRecord:
    """The upload in a row, without its parts."""
    return UploadRecord(
        upload=Upload(
            upload_id=row.upload_id,
            plan=plan_of(row),
            state=State(row.state),
            job_id=row.job_id,
            committed_size=row.committed_size,
            expire_time=row.expire_time,
            create_time=row.create_time,
            failure_reason=row.failure_reason,
        ),
        is_expired=row.is_expired,
        writer=row.writer,
        writers=row.writers,
        object_key=row.object_key,
        part_bytes=row.part_bytes,
        token_revision=row.token_revision,
        lifetime=row.lifetime,
        s3_upload_id=row.s3_upload_id,
        progress=Progress(
            size=row.committed_size,
            hash_state=row.hash_state,
            content_type=row.content_type,
            tail=tuple(TailObject(**each) for each in row.tail),
        ),
    )

"""Takes of the peer: upload, background task, webhook, progress."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
from fastapi import APIRouter, BackgroundTasks, HTTPException, UploadFile
from fastapi.responses import StreamingResponse
from sqlalchemy import select, update
from sqlalchemy.orm import selectinload

from bench.peers.fastapi.models import (
    BUCKET,
    Result,
    Script,
    Session,
    Token,
    presigned,
    s3,
    threads,
)

T = TypeVar("T")

router = APIRouter()
http = httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=None))

_TARGET = os.environ["TARGET_SERVER_URL"]
_WEBHOOK = os.environ["WEBHOOK_URL"]
_POLL_SECONDS = 1.0
_MULTIPART_BYTES = 8 * 1024**2


@router.post("/tokens/{token_id}/upload-audio")
async def upload_audio(
    token_id: int, file: UploadFile, background: BackgroundTasks
) -> dict[str, str]:
    """Accept a take; everything else happens in the background."""
    content, job_id = await file.read(), uuid4()
    await _in_thread(lambda: _create(job_id, token_id))
    background.add_task(_process, job_id, token_id, content, file.filename or "take")
    message = "업로드 완료, 백그라운드에서 처리됩니다."
    return {"message": message, "job_id": str(job_id), "status": "processing"}


@router.post("/tokens/webhook/analysis-complete")
async def analysis_complete(job_id: UUID, report: dict[str, Any]) -> dict[str, Any]:
    """Store a result."""
    await _in_thread(lambda: _complete(job_id, report["analysis_results"]))
    return {"received": True, "job_id": str(job_id)}


@router.get("/tokens/analysis-progress/{job_id}")
async def analysis_progress(job_id: UUID) -> StreamingResponse:
    """The progress of an analysis as events."""
    return StreamingResponse(_events(job_id), media_type="text/event-stream")


async def _process(job_id: UUID, token_id: int, content: bytes, file_name: str) -> None:
    key = f"recordings/{token_id}/{job_id}_{file_name}"
    await _in_thread(lambda: _advance(job_id, 40, "S3 업로드 중..."))
    await _in_thread(lambda: _store(key, content))
    await _in_thread(lambda: _advance(job_id, 70, "분석 서버 요청 중..."))
    token = await _in_thread(lambda: _described(token_id))
    body = {
        "job_id": str(job_id),
        "audio_url": presigned(key),
        "token": token,
        "webhook_url": f"{_WEBHOOK}?job_id={job_id}",
    }
    response = await http.post(_TARGET, json=body)
    response.raise_for_status()
    # The webhook may already have stored the result.
    await _in_thread(lambda: _advance(job_id, 90, "분석 중... 결과 대기"))


def _store(key: str, content: bytes) -> None:
    if len(content) < _MULTIPART_BYTES:
        # `upload_fileobj` would start threads of its own, also for a single PUT.
        s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    else:
        s3.upload_fileobj(io.BytesIO(content), BUCKET, key)


def _create(job_id: UUID, token_id: int) -> None:
    with Session.begin() as session:
        if session.get(Token, token_id) is None:
            raise HTTPException(404, "Token not found")
        row = {"status": "processing", "progress": 10, "message": "업로드 시작"}
        session.add(Result(job_id=job_id, token_id=token_id, **row))


def _advance(job_id: UUID, progress: int, message: str) -> None:
    change = (
        update(Result)
        .where(Result.job_id == job_id, Result.status == "processing")
        .values(progress=progress, message=message)
    )
    with Session.begin() as session:
        session.execute(change)


def _complete(job_id: UUID, result: dict[str, Any]) -> None:
    with Session.begin() as session:
        row = session.get(Result, job_id)
        if row is None:
            raise HTTPException(404, "Job not found")
        row.status, row.progress, row.message = "completed", 100, "분석 완료"
        row.result = result


def _described(token_id: int) -> dict[str, Any]:
    query = select(Token).where(Token.id == token_id).options(selectinload(Token.scripts))
    with Session() as session:
        token = session.scalars(query).one()
    assets = {"voice": token.voice_key, "background": token.background_key}
    return {
        "id": token.id,
        "name": token.name,
        "scripts": [_described_script(script) for script in token.scripts],
        "assets": {name: presigned(key) for name, key in assets.items() if key},
    }


def _described_script(script: Script) -> dict[str, Any]:
    words = [
        {"text": word.text, "start_time": word.start_time, "end_time": word.end_time}
        for word in script.words
    ]
    times = {"start_time": script.start_time, "end_time": script.end_time}
    return {"id": script.id, "text": script.text, "words": words, **times}


async def _events(job_id: UUID) -> AsyncIterator[str]:
    while True:
        row = await _in_thread(lambda: _read(job_id))
        if row is None:
            return
        event = {"status": row.status, "progress": row.progress, "message": row.message}
        if row.status == "completed":
            event["result"] = row.result
        yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
        if row.status != "processing":
            return
        await asyncio.sleep(_POLL_SECONDS)


def _read(job_id: UUID) -> Result | None:
    with Session() as session:
        return session.get(Result, job_id)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, work)

"""aiobotocore alone: a multipart upload as fast as the library allows, without a product.

Payloads are not signed and no CRC is computed, but each part's SHA-256 is, as in the product.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import dataclass
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from bench.processes import CpuMeter

_PART_BYTES = 8 * 1024**2
_IN_FLIGHT = 2


@dataclass(frozen=True)
class Settings:
    """Where to upload to, and how many bytes; a multiple of 8 MiB."""

    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str
    size: int


@dataclass(frozen=True)
class Result:
    """Throughput in MB (10⁶ bytes) per second, and CPU seconds of this process per GB."""

    mb_per_second: float
    cpu_seconds_per_gb: float


async def measure(settings: Settings) -> Result:
    """Upload one object, after a small one."""
    config = AioConfig(
        signature_version="s3v4",
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    async with get_session().create_client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        config=config,
    ) as client:
        await _upload(client, settings.bucket, _PART_BYTES)
        meter, began = CpuMeter({"self": os.getpid()}), time.perf_counter()
        await _upload(client, settings.bucket, settings.size)
        lasted = time.perf_counter() - began
    return Result(settings.size / 1e6 / lasted, meter.spent()["self"] / settings.size * 1e9)


async def _upload(client: Any, bucket: str, size: int) -> None:
    target = {"Bucket": bucket, "Key": f"recordings/direct/{os.urandom(8).hex()}"}
    upload = await client.create_multipart_upload(**target)
    target["UploadId"] = upload["UploadId"]
    body, digest, slots = os.urandom(_PART_BYTES), hashlib.sha256(), asyncio.Semaphore(_IN_FLIGHT)

    async def put(number: int) -> dict[str, Any]:
        try:
            part = await client.upload_part(**target, PartNumber=number, Body=body)
        finally:
            slots.release()
        return {"PartNumber": number, "ETag": part["ETag"]}

    tasks = []
    for number in range(1, size // _PART_BYTES + 1):
        await slots.acquire()
        digest.update(body)
        tasks.append(asyncio.create_task(put(number)))
    parts = {"Parts": await asyncio.gather(*tasks)}
    await client.complete_multipart_upload(**target, MultipartUpload=parts)

"""The checksums by which S3 verifies what it stores.

They are headers. If botocore computes a checksum, it sends it over HTTPS as a trailer in the
encoding aws-chunked, which many other servers do not accept.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import md5
from typing import Literal, TypedDict

from zlib_ng.zlib_ng import crc32

Checksum = Literal["crc32", "md5"]

Chunk = bytes | bytearray | memoryview
"""Consecutive bytes in memory."""

CRC32_HEADER = "x-amz-checksum-crc32"
MD5_HEADER = "content-md5"


async def checksum_header(chunks: Sequence[Chunk], checksum: Checksum) -> dict[str, str]:
    """The header with the checksum of chunks. Other tasks continue between two chunks."""
    if checksum == "md5":
        hasher = md5(usedforsecurity=False)
        for chunk in chunks:
            hasher.update(chunk)
            await asyncio.sleep(0)
        return {MD5_HEADER: b64encode(hasher.digest()).decode()}
    crc = 0
    for chunk in chunks:
        crc = crc32(chunk, crc)
        await asyncio.sleep(0)
    return {CRC32_HEADER: b64encode(crc.to_bytes(4, "big")).decode()}


class ChecksumArgument(TypedDict, total=False):
    """The argument of botocore that has a checksum."""

    ChecksumCRC32: str
    ContentMD5: str


def checksum_argument(headers: Mapping[str, str]) -> ChecksumArgument:
    """The checksum among headers, for botocore."""
    if MD5_HEADER in headers:
        return {"ContentMD5": headers[MD5_HEADER]}
    return {"ChecksumCRC32": headers[CRC32_HEADER]}

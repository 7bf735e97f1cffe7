"""PUT requests to S3 over connections of our own.

botocore hashes each body for the signature, and copies it. Here the signature covers the
headers, and the checksum among them covers the body: S3 verifies both. The body is sent from
where it is in memory.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn, Self

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from botocore.exceptions import ClientError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from yarl import URL

from services.runtime.presigning import Presigner, SignedRequest
from services.runtime.s3_checksums import Chunk

ATTEMPTS = 4
MAX_PAUSE_SECONDS = 20.0
CONNECT_SECONDS = 2.0
READ_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 128 * 1024
"""A request that is slower is repeated on another connection."""

_CONNECTIONS = 64
_WRITE_BYTES = 256 * 1024
"""What asyncio cannot write at once, it copies."""

_MAX_ERROR_BYTES = 64 * 1024
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,100})</Code>")
_TRANSIENT_STATUSES = {429, 500, 502, 503, 504}
_TRANSIENT_CODES = {"RequestTimeout", "SlowDown"}
_REDIRECTS = {301, 302, 303, 307, 308}


class PutClient:
    """Sends signed PUT requests to one bucket, and repeats those that fail."""

    def __init__(self, presigner: Presigner, session: aiohttp.ClientSession) -> None:
        self._presigner = presigner
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, presigner: Presigner, endpoint_url: str, ca_bundle: str | None
    ) -> AsyncIterator[Self]:
        """A client whose connections are closed when the context ends.

        ca_bundle: a file of certificates to trust; default: those that botocore trusts.
        """
        scheme = endpoint_url.partition(":")[0]
        certificates = ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
        tls = ssl.create_default_context(cafile=certificates) if scheme == "https" else True
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            proxy=get_environ_proxies(endpoint_url).get(scheme),
        ) as session:
            yield cls(presigner, session)

    async def put(
        self, key: str, query: str, headers: Mapping[str, str], body: Sequence[Chunk]
    ) -> Mapping[str, str] | None:
        """Send a body; returns the headers of the response.

        None if only botocore can send the request. For query and headers, see UrlSigner.put.

        Errors: ClientError when S3 refuses the request, as botocore raises it; BotoCoreError,
        aiohttp.ClientError, OSError.
        """
        attempt = 1
        while True:
            request = await self._presigner.put(key, query, headers)
            if request is None:
                return None
            try:
                response = await self._send(request, body)
            except (aiohttp.ClientError, OSError):
                if attempt == ATTEMPTS:
                    raise
            else:
                if response.status < 300:
                    return response.headers
                if response.status in _REDIRECTS:
                    return None
                if attempt == ATTEMPTS or not response.is_transient:
                    _raise_client_error(response)
            # With jitter, so that the clients of an overloaded server do not return together.
            await asyncio.sleep(random.uniform(0, min(MAX_PAUSE_SECONDS, 2 ** (attempt - 1))))  # noqa: S311
            attempt += 1

    async def _send(self, request: SignedRequest, body: Sequence[Chunk]) -> _Response:
        payload = _Chunks(body)
        timeout = aiohttp.ClientTimeout(
            total=READ_SECONDS + payload.size / SLOWEST_BYTES_PER_SECOND,
            sock_connect=CONNECT_SECONDS,
            sock_read=READ_SECONDS,
        )
        async with self._session.put(
            URL(request.url, encoded=True),
            data=payload,
            headers=request.headers,
            allow_redirects=False,
            timeout=timeout,
        ) as response:
            error = b"" if response.ok else await response.content.read(_MAX_ERROR_BYTES)
            return _Response(response.status, response.headers, error)


@dataclass(frozen=True)
class _Response:
    status: int
    headers: Mapping[str, str]
    error: bytes

    @property
    def code(self) -> str:
        """S3's code of the error, or the status if there is none."""
        found = _CODE.search(self.error)
        return found[1].decode() if found else str(self.status)

    @property
    def is_transient(self) -> bool:
        return self.status in _TRANSIENT_STATUSES or self.code in _TRANSIENT_CODES


class _Chunks(aiohttp.Payload):
    """A body of chunks, of which aiohttp makes no copy."""

    # There is nothing to close.
    _autoclose = True

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        super().__init__(chunks)
        self._chunks = chunks
        self._total = sum(map(len, chunks))

    @property
    def size(self) -> int:
        return self._total

    def decode(self, encoding: str = "", errors: str = "") -> NoReturn:  # noqa: ARG002
        raise TypeError("a recording is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        for chunk in self._chunks:
            view = memoryview(chunk)
            for start in range(0, len(view), _WRITE_BYTES):
                await writer.write(view[start : start + _WRITE_BYTES])


def _raise_client_error(response: _Response) -> NoReturn:
    raise ClientError(
        {
            "Error": {"Code": response.code, "Message": ""},
            "ResponseMetadata": {"HTTPStatusCode": response.status},
        },
        "Put",
    )

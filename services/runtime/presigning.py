"""Signatures of S3 requests: AWS Signature Version 4 in query parameters or in headers.

The signing key is cached; it is the same for all requests of one day and one secret key. The
formats: "Authenticating Requests: Using Query Parameters" and "Using the Authorization
Header", Amazon S3 API Reference.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from aiobotocore.credentials import AioCredentials
from botocore.credentials import ReadOnlyCredentials

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SAFE = "/-_.~"
# botocore renews temporary credentials at the latest ten minutes before they expire.
_MIN_TEMPORARY_SECONDS = 600.0
_UNSIGNED = "UNSIGNED-PAYLOAD"
_SAMPLE_KEY = "sample"


@dataclass(frozen=True)
class SignedRequest:
    """The URL and the headers of a request."""

    url: str
    headers: Mapping[str, str]


class UrlSigner:
    """Signs URLs that read, and requests that write, the objects of one bucket. No I/O."""

    def __init__(self, bucket_url: str, region: str, service: str = "s3") -> None:
        """bucket_url: what precedes the keys, with the slash at its end."""
        parts = urlsplit(bucket_url)
        self._bucket_url = bucket_url
        self._path = parts.path
        self._host = _host_of(parts)
        self._region = region
        self._service = service
        self._key_id: tuple[str, str] | None = None
        self._signing_key = b""

    def url(
        self, credentials: ReadOnlyCredentials, key: str, seconds: int, now: datetime | None = None
    ) -> str:
        """The URL of an object, valid for `seconds`. now: default: the current time."""
        time = (now or datetime.now(UTC)).strftime(_TIME_FORMAT)
        scope = self._scope(time)
        credential = _quoted(f"{credentials.access_key}/{scope}")
        token = credentials.token
        # In the order of their names, as the signature requires.
        query = (
            f"X-Amz-Algorithm={_ALGORITHM}&X-Amz-Credential={credential}&X-Amz-Date={time}"
            f"&X-Amz-Expires={seconds}"
            f"{f'&X-Amz-Security-Token={_quoted(token)}' if token else ''}"
            "&X-Amz-SignedHeaders=host"
        )
        name = quote(key, safe=_SAFE)
        request = f"GET\n{self._path}{name}\n{query}\nhost:{self._host}\n\nhost\n{_UNSIGNED}"
        signature = self._signature(credentials, time, request)
        return f"{self._bucket_url}{name}?{query}&X-Amz-Signature={signature}"

    def put(
        self,
        credentials: ReadOnlyCredentials,
        key: str,
        query: str,
        headers: Mapping[str, str],
        now: datetime | None = None,
    ) -> SignedRequest:
        """A request that writes an object or a part. The signature does not cover the body.

        query: quoted, in the order of the names. headers: by their names in lower case; all
        are signed. now: default: the current time.
        """
        time = (now or datetime.now(UTC)).strftime(_TIME_FORMAT)
        sent = {**headers, "x-amz-content-sha256": _UNSIGNED, "x-amz-date": time}
        if credentials.token:
            sent["x-amz-security-token"] = credentials.token
        signed = sorted({**sent, "host": self._host}.items())
        names = ";".join(name for name, _ in signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed)
        path = quote(key, safe=_SAFE)
        request = f"PUT\n{self._path}{path}\n{query}\n{lines}\n{names}\n{_UNSIGNED}"
        sent["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{self._scope(time)}, "
            f"SignedHeaders={names}, Signature={self._signature(credentials, time, request)}"
        )
        return SignedRequest(f"{self._bucket_url}{path}{f'?{query}' if query else ''}", sent)

    def _scope(self, time: str) -> str:
        return f"{time[:8]}/{self._region}/{self._service}/aws4_request"

    def _signature(self, credentials: ReadOnlyCredentials, time: str, request: str) -> str:
        """The signature of a canonical request."""
        digest = sha256(request.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{time}\n{self._scope(time)}\n{digest}"
        return _hmac(self._key_of(time[:8], credentials.secret_key), text).hex()

    def _key_of(self, day: str, secret_key: str) -> bytes:
        key_id = (day, secret_key)
        if key_id != self._key_id:
            key = f"AWS4{secret_key}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = _hmac(key, part)
            self._key_id, self._signing_key = key_id, key
        return self._signing_key


class Presigner:
    """Signs for one bucket with the current credentials of botocore's provider.

    botocore presigns a sample URL first, which shows the bucket's address and region. If our
    signature of it differs, botocore signs everything: directory buckets, for example, have
    an algorithm of their own.
    """

    def __init__(self, client: S3Client, bucket: str, credentials: AioCredentials | None) -> None:
        """credentials: refresh themselves when they expire; None if botocore found none."""
        self._client = client
        self._bucket = bucket
        self._credentials = credentials
        self._signer: UrlSigner | None = None

    async def url(self, key: str, seconds: int) -> str:
        """A URL that reads an object. seconds: how long. Errors: BotoCoreError."""
        ready = await self._ready()
        if ready is None:
            return await self._by_botocore(key, seconds)
        signer, credentials = ready
        return signer.url(credentials, key, seconds)

    async def put(self, key: str, query: str, headers: Mapping[str, str]) -> SignedRequest | None:
        """A request that writes; None if only botocore can sign it. For arguments, see UrlSigner.

        Errors: BotoCoreError.
        """
        ready = await self._ready()
        if ready is None:
            return None
        signer, credentials = ready
        return signer.put(credentials, key, query, headers)

    async def _ready(self) -> tuple[UrlSigner, ReadOnlyCredentials] | None:
        if self._credentials is None:
            return None
        credentials = await self._credentials.get_frozen_credentials()
        if self._signer is None:
            url = await self._by_botocore(_SAMPLE_KEY, 1)
            self._signer = signer_like(url, _SAMPLE_KEY, credentials)
        return None if self._signer is None else (self._signer, credentials)

    async def _by_botocore(self, key: str, seconds: int) -> str:
        return await self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=seconds
        )


def signer_like(url: str, key: str, credentials: ReadOnlyCredentials) -> UrlSigner | None:
    """A signer that signs as botocore signed this URL; None if `UrlSigner` can't.

    key: of the object. credentials: those that botocore used.
    """
    signed = _signed(url)
    signing_time = _signing_time(signed)
    try:
        _, _, region, service, _ = signed["X-Amz-Credential"].rsplit("/", 4)
        seconds = int(signed["X-Amz-Expires"])
    except (KeyError, ValueError):
        return None
    signer = UrlSigner(url.partition("?")[0].removesuffix(quote(key, safe=_SAFE)), region, service)
    ours = signer.url(credentials, key, seconds, signing_time)
    return signer if _signed(ours) == signed else None


def seconds_left(url: str, now: datetime | None = None) -> tuple[float, float]:
    """How long a presigned URL is still valid, and how long it was when it was signed.

    Both are 0 for a URL without these dates. A URL signed with temporary credentials counts
    as valid for ten minutes, if it does not say less: it expires with the credentials. now:
    default: the current time.
    """
    signed = _signed(url)
    signing_time = _signing_time(signed)
    try:
        valid = float(signed["X-Amz-Expires"])
    except (KeyError, ValueError):
        return 0.0, 0.0
    if signing_time is None:
        return 0.0, 0.0
    if "X-Amz-Security-Token" in signed:
        valid = min(valid, _MIN_TEMPORARY_SECONDS)
    return valid - ((now or datetime.now(UTC)) - signing_time).total_seconds(), valid


def _signed(url: str) -> dict[str, str]:
    """The parameters of a presigned URL."""
    return dict(parse_qsl(url.partition("?")[2]))


def _signing_time(signed: dict[str, str]) -> datetime | None:
    try:
        return datetime.strptime(signed["X-Amz-Date"], _TIME_FORMAT).replace(tzinfo=UTC)
    except (KeyError, ValueError):
        return None


def _host_of(parts: SplitResult) -> str:
    """The `Host` header of a request to a URL."""
    host = parts.netloc.rpartition("@")[2].lower()
    return host.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")

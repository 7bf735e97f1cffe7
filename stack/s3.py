"""A minimal S3 client for the stack: signed requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


@dataclass(frozen=True)
class S3:
    """The address of an S3 server, and the key to it."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    region: str

    @property
    def host(self) -> str:
        """The host of the endpoint."""
        return urlsplit(self.endpoint_url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        """The port of the endpoint."""
        return urlsplit(self.endpoint_url).port or 80

    def request(self, method: str, key: str = "", body: bytes = b"") -> httpx.Response:
        """Send a signed request for an object, or for the bucket if `key` is empty."""
        url = "/".join(filter(None, (self.endpoint_url.rstrip("/"), self.bucket, quote(key))))
        signed = AWSRequest(method, url, data=body)
        credentials = Credentials(self.access_key, self.secret_key)
        S3SigV4Auth(credentials, "s3", self.region).add_auth(signed)
        return httpx.request(
            method,
            url,
            content=body,
            headers=dict(signed.headers.items()),
            timeout=10,
            trust_env=False,
            verify=url.startswith("https:"),
        )

    def put(self, key: str, body: bytes) -> None:
        """Store an object."""
        self.request("PUT", key, body).raise_for_status()

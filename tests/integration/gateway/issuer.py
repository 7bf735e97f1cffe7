"""An issuer of access tokens with real keys, whose JWKS the fake services or HTTP serve."""

from __future__ import annotations

import json
import ssl
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Json = dict[str, Any]

ISSUER = "http://issuer.test"
AUDIENCE = "sori"


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def encoded_json(value: Json) -> str:
    return encoded(json.dumps(value).encode())


class Key:
    """A key of ES256."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._private = ec.generate_private_key(ec.SECP256R1())

    def public(self) -> Json:
        """The key as JWK."""
        numbers = self._private.public_key().public_numbers()
        point = {"x": encoded(numbers.x.to_bytes(32)), "y": encoded(numbers.y.to_bytes(32))}
        return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, **point}

    def signed(self, claims: Json, **header: object) -> str:
        """A token. header: replaces parts of its header."""
        head = {"alg": "ES256", "typ": "JWT", "kid": self.kid, **header}
        signed = f"{encoded_json(head)}.{encoded_json(claims)}"
        signature = self._private.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return f"{signed}.{encoded(r.to_bytes(32) + s.to_bytes(32))}"


def jwks(*keys: Key) -> str:
    return json.dumps({"keys": [key.public() for key in keys]})


def claims(*roles: str, **changes: object) -> Json:
    """The claims of a valid token. changes: replace some; None removes one."""
    now = int(time.time())
    valid: Json = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(uuid4()),
        "sid": str(uuid4()),
        "jti": str(uuid4()),
        "iat": now,
        "exp": now + 600,
        "roles": list(roles),
    }
    return {name: value for name, value in (valid | changes).items() if value is not None}


def bearer(token: str) -> dict[str, str]:
    """The header with a token, for HTTP and for gRPC."""
    return {"authorization": f"Bearer {token}".strip()}


@contextmanager
def served_over_http(document: str, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve the keys of an external issuer. Yields their URL, which is HTTPS with `tls`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = document.encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Keep the output of tests short."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{'https' if tls else 'http'}://localhost:{server.server_port}/keys"
        server.shutdown()
        thread.join()

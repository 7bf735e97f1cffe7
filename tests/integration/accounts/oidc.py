"""A real OpenID provider (npm `oidc-provider`), and a browser that logs in at it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

SCRIPTS = Path(__file__).parents[2] / "js"
NODE = shutil.which("node")
IS_INSTALLED = NODE is not None and (SCRIPTS / "node_modules" / "oidc-provider").exists()

CLIENT_ID = "sori"
CLIENT_SECRET = "secret of sori"
OTHER_CLIENT_ID = "another-product"
REDIRECT_URIS = tuple(
    f"http://localhost:8000/auth/{provider}/callback" for provider in ("corp", "plain")
)
MAX_REDIRECTS = 10

Person = Mapping[str, Any]
Claims = dict[str, Any]


def free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
        return port


class OidcProvider:
    """The provider. Tests have its private key, so they can also sign tokens themselves."""

    def __init__(self, *, claims_in_id_token: bool = False) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.key = _new_key("first")
        self._claims_in_id_token = claims_in_id_token
        self._start()

    def _start(self) -> None:
        client = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": REDIRECT_URIS,
            "token_endpoint_auth_method": "client_secret_post",
        }
        options = {
            "issuer": self.issuer,
            "port": self.port,
            "jwks": KeySet([self.key]).as_dict(private=True),
            "claimsInIdToken": self._claims_in_id_token,
            "clients": [client, {**client, "client_id": OTHER_CLIENT_ID}],
        }
        assert NODE is not None
        self._process = subprocess.Popen(
            [NODE, SCRIPTS / "oidc_provider.mjs", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
        raise AssertionError("the provider did not start")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def rotate_keys(self) -> None:
        """Replace the key that signs id tokens; the former one is no longer published."""
        self.stop()
        self.key = _new_key("second")
        self._start()

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The provider as an operator configures it."""
        own = {
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "audiences": ["the-mobile-app"],
        }
        return {**own, **changes}

    def choose(self, person: Person) -> None:
        """Let this person log in next."""
        httpx.put(f"{self.issuer}/person", json=dict(person)).raise_for_status()

    def key_requests(self) -> int:
        """How often its keys were requested."""
        return int(httpx.get(f"{self.issuer}/key-requests").text)

    def claims(self, **changes: Any) -> Claims:
        """Valid claims of an id token for this product."""
        now = int(time.time())
        own = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "person-1",
            "iat": now,
            "exp": now + 300,
        }
        return {**own, **changes}

    def sign(self, claims: Claims, key: RSAKey | ECKey | None = None, **header: Any) -> str:
        """An id token that the provider, or another key, signs."""
        signer = key or self.key
        algorithm = "RS256" if isinstance(signer, RSAKey) else "ES256"
        own = {"alg": algorithm, "kid": signer.kid}
        return jwt.encode({**own, **header}, claims, signer)


def _new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


class Browser:
    """Follows the redirects of a provider; it has no session there yet."""

    def log_in(self, url: str) -> dict[str, str]:
        """Open the page where a login begins; returns the parameters of the callback."""
        with httpx.Client() as client:
            for _ in range(MAX_REDIRECTS):
                answer = client.get(url)
                assert answer.status_code in (302, 303), answer.text
                url = str(answer.next_request.url) if answer.next_request else ""
                if url.startswith(REDIRECT_URIS):
                    return query_of(url)
        raise AssertionError("too many redirects")


def query_of(url: str) -> dict[str, str]:
    """The parameters in a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}

"""A software authenticator (WebAuthn), which answers as a browser with passkeys does."""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
ES256, EC2, P256 = -7, 2, 1

Json = dict[str, Any]


def encoded(content: bytes) -> str:
    """Base64url, as WebAuthn writes bytes in JSON."""
    return urlsafe_b64encode(content).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One passkey at most, for the page of an origin.

    verifies_user: whether it asks for a fingerprint or a PIN. sign_count: None if it does not
    count.
    """

    origin: str
    verifies_user: bool = True
    sign_count: int | None = 0
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    user_handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def create(self, options: Json, **changes: str) -> Json:
        """Answer `navigator.credentials.create`. changes: of the client data."""
        self.user_handle = decoded(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        public_key = cbor2.dumps({1: EC2, 3: ES256, -1: P256, -2: x, -3: y})
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id
        data = self._data(options["rp"]["id"], ATTESTED) + attested + public_key
        attestation = {"fmt": "none", "attStmt": {}, "authData": data}
        client_data = self._client_data("webauthn.create", options, changes)
        return self._answer(
            clientDataJSON=encoded(client_data), attestationObject=encoded(cbor2.dumps(attestation))
        )

    def get(self, options: Json, **changes: str) -> Json:
        """Answer `navigator.credentials.get`. changes: of the client data."""
        if self.sign_count is not None:
            self.sign_count += 1
        client_data = self._client_data("webauthn.get", options, changes)
        data = self._data(options["rpId"])
        signed = data + hashlib.sha256(client_data).digest()
        return self._answer(
            clientDataJSON=encoded(client_data),
            authenticatorData=encoded(data),
            signature=encoded(self.key.sign(signed, ec.ECDSA(SHA256()))),
            userHandle=encoded(self.user_handle),
        )

    def _data(self, rp_id: str, flags: int = 0) -> bytes:
        flags |= PRESENT | (VERIFIED if self.verifies_user else 0)
        domain = hashlib.sha256(rp_id.encode()).digest()
        return domain + struct.pack(">BI", flags, self.sign_count or 0)

    def _client_data(self, kind: str, options: Json, changes: Json) -> bytes:
        data = {"type": kind, "challenge": options["challenge"], "origin": self.origin}
        return json.dumps(data | changes).encode()

    def _answer(self, **response: str) -> Json:
        name = encoded(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response}

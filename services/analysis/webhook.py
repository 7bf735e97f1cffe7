"""The webhook's URL and its signature.

A job's signature is an HMAC-SHA-256 over its id, made and checked in constant
time by itsdangerous, so that nothing about it needs to be stored.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

import httpx
from itsdangerous import Signer

from services.analysis.errors import SignatureInvalid, SignatureMissing


class WebhookSigner:
    """Where the analysis server reports, and the proof that it may."""

    def __init__(
        self, url: str, signing_key: str, *, signature_required: bool, previous_key: str = ""
    ) -> None:
        self._url = httpx.URL(url)
        self._signature_required = signature_required
        self._signer = Signer(
            # Signs with the last one, takes what any has signed.
            [key for key in (previous_key, signing_key) if key],
            salt="sori.analysis.webhook",
            digest_method=hashlib.sha256,
        )

    def url_for(self, job_id: UUID) -> str:
        """The URL that reports this job and no other."""
        signature = self._signer.get_signature(str(job_id)).decode()
        return str(self._url.copy_merge_params({"job_id": str(job_id), "signature": signature}))

    def check(self, job_id: UUID, signature: str) -> None:
        """Errors: SignatureMissing, SignatureInvalid."""
        if not self._signature_required:
            return
        if not signature:
            raise SignatureMissing
        if not self._signer.verify_signature(str(job_id), signature):
            raise SignatureInvalid

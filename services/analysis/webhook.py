"""The webhook URL of a job and its signature.

The signature is an HMAC-SHA-256 of the job's id. itsdangerous makes it and compares it
in constant time, so no signature has to be stored.
"""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

from itsdangerous import Signer

from services.analysis.errors import SignatureInvalid, SignatureMissing


class WebhookSigner:
    """Signs the URL that the analysis server reports to, and verifies its signature."""

    def __init__(
        self, url: str, signing_key: str, *, signature_required: bool, previous_key: str = ""
    ) -> None:
        """Create a signer of the webhook at `url`.

        signature_required: whether `verify` checks signatures. previous_key: a key whose
        signatures are still valid; default: no such key.
        """
        self._url = _without_signature(url)
        self._signature_required = signature_required
        self._signer = Signer(
            # itsdangerous signs with the last key and accepts signatures of all of them.
            [key for key in (previous_key, signing_key) if key],
            salt="sori.analysis.webhook",
            digest_method=hashlib.sha256,
        )

    def url_for(self, job_id: UUID) -> str:
        """The URL at which only this job can be reported."""
        signature = self._signer.get_signature(str(job_id)).decode()
        # Neither has a character that a query must quote.
        return f"{self._url}job_id={job_id}&signature={signature}"

    def verify(self, job_id: UUID, signature: str) -> None:
        """Check that a signature belongs to a job. Errors: SignatureMissing, SignatureInvalid."""
        if not self._signature_required:
            return
        if not signature:
            raise SignatureMissing
        if not self._signer.verify_signature(str(job_id), signature):
            raise SignatureInvalid


def _without_signature(url: str) -> str:
    """A URL to which the parameters of a job can be appended."""
    parts = urlsplit(url)
    parameters = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in ("job_id", "signature")
    ]
    query = f"{urlencode(parameters)}&" if parameters else ""
    return f"{parts._replace(query='', fragment='').geturl()}?{query}"

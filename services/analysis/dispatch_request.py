"""Building the request that dispatches a job to the analysis server."""

from __future__ import annotations

import json
from dataclasses import dataclass

import grpc

from services.analysis.dispatched_tokens import DispatchedTokens
from services.analysis.jobs import TOKEN_NOT_FOUND, Claim
from services.analysis.outcomes import Fault, PermanentFailure, TransientFailure
from services.analysis.webhook import WebhookSigner
from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectStore


@dataclass(frozen=True)
class DispatchRequest:
    """A request to the analysis server.

    body: JSON. token_revision: the revision of the token in it.
    """

    body: bytes
    token_revision: int


class DispatchRequestBuilder:
    """Collects what the analysis server needs: the token, URLs of the recording and webhook."""

    def __init__(
        self,
        tokens: DispatchedTokens,
        objects: ObjectStore,
        webhook: WebhookSigner,
        recording_url_seconds: int,
    ) -> None:
        """Create a builder. recording_url_seconds: how long a recording's URL is valid."""
        self._tokens = tokens
        self._objects = objects
        self._webhook = webhook
        self._recording_url_seconds = recording_url_seconds

    async def build(self, claim: Claim) -> DispatchRequest | PermanentFailure | TransientFailure:
        """Build the request for a claimed job; the recording's URL is presigned now.

        Returns a failure when the token was deleted, or when the catalog or S3 does not
        respond.
        """
        try:
            token = await self._tokens.get(claim.token_id, claim.token_revision)
            audio_url = await self._objects.presigned_url(
                claim.object_key, self._recording_url_seconds
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return PermanentFailure(TOKEN_NOT_FOUND, "the token was deleted", answered=False)
            return TransientFailure(f"catalog: {error.code().name}", Fault.OURS)
        except StorageUnavailable:
            return TransientFailure("the recording's URL could not be signed", Fault.OURS)
        job = {
            "job_id": str(claim.job_id),
            "audio_url": audio_url,
            "webhook_url": self._webhook.url_for(claim.job_id),
        }
        return DispatchRequest(_with_token(json.dumps(job), token.body), token.revision)


def _with_token(job: str, token: bytes) -> bytes:
    """A JSON object with one more field: the token, which is already encoded."""
    return b'%b, "token": %b}' % (job.encode().removesuffix(b"}"), token)

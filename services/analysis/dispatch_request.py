"""Building the request that dispatches a job to the analysis server."""

from __future__ import annotations

import json
from dataclasses import dataclass

import grpc
from google.protobuf import json_format

from services.analysis.jobs import TOKEN_NOT_FOUND, Claim
from services.analysis.outcomes import Fault, PermanentFailure, TransientFailure
from services.analysis.webhook import WebhookSigner
from services.runtime.errors import StorageUnavailable
from services.runtime.object_store import ObjectStore
from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc


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
        catalog: catalog_pb2_grpc.CatalogServiceAsyncStub,
        objects: ObjectStore,
        webhook: WebhookSigner,
        recording_url_seconds: int,
    ) -> None:
        """Create a builder. recording_url_seconds: how long a recording's URL is valid."""
        self._catalog = catalog
        self._objects = objects
        self._webhook = webhook
        self._recording_url_seconds = recording_url_seconds

    async def build(self, claim: Claim) -> DispatchRequest | PermanentFailure | TransientFailure:
        """Build the request for a claimed job, with URLs presigned now.

        Returns a failure when the token was deleted, or when the catalog or S3 does not
        respond.
        """
        try:
            token = await self._catalog.GetToken(
                catalog_pb2.GetTokenRequest(id=claim.token_id, view=catalog_pb2.TOKEN_VIEW_FULL)
            )
            audio_url = await self._objects.presigned_url(
                claim.object_key, self._recording_url_seconds
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return PermanentFailure(TOKEN_NOT_FOUND, "the token was deleted", answered=False)
            return TransientFailure(f"catalog: {error.code().name}", Fault.OURS)
        except StorageUnavailable:
            return TransientFailure("the recording's URL could not be signed", Fault.OURS)
        body = {
            "job_id": str(claim.job_id),
            "audio_url": audio_url,
            "token": json_format.MessageToDict(
                token,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            ),
            "webhook_url": self._webhook.url_for(claim.job_id),
        }
        return DispatchRequest(json.dumps(body, ensure_ascii=False).encode(), token.revision)

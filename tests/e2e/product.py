"""The product as tests use it: through its gateway, and behind it in PostgreSQL and S3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import httpx
from aiobotocore.session import get_session

from stack.stack import Stack
from tests.e2e.issued_secrets import ISSUED

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

AUDIO = Path(__file__).parents[1] / "audio"
Json = dict[str, Any]
T = TypeVar("T")
# A session parses the description of S3 once, in 0.1 s.
SESSION = get_session()


class Product:
    """One stack, as clients and operators see it."""

    def __init__(self, stack: Stack, gateway: httpx.Client) -> None:
        self.stack = stack
        self.gateway = gateway

    def upload(self, token_id: int, file_name: str, headers: Json | None = None) -> httpx.Response:
        """Upload a sample recording by form."""
        with (AUDIO / file_name).open("rb") as recording:
            return self.gateway.post(
                f"/tokens/{token_id}/upload-audio", files={"file": recording}, headers=headers
            )

    def upload_sample(self, token_id: int, file_name: str = "ref_0890.wav") -> str:
        """Upload a sample recording; returns the job's id."""
        answer = self.upload(token_id, file_name)
        assert answer.status_code == 200, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    def analysis(self, job_id: str) -> Json:
        """The analysis as a resource."""
        answer = self.gateway.get(f"/analyses/{job_id}")
        assert answer.status_code == 200, answer.text
        analysis: Json = answer.json()
        return analysis

    def states(self, job_id: str) -> Iterator[Json]:
        """The states of a job, as an EventSource receives them until the stream ends."""
        with self.gateway.stream(
            "GET",
            f"/tokens/analysis-progress/{job_id}",
            headers={"accept": "text/event-stream"},
        ) as response:
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream"
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def result(self, job_id: str) -> Json:
        """The response of the result call."""
        answer = self.gateway.get(f"/tokens/analysis-result/{job_id}")
        assert answer.status_code == 200, answer.text
        result: Json = answer.json()
        return result

    def final_result(self, job_id: str) -> Json:
        """The response of the result call after the job has ended."""
        for _ in self.states(job_id):
            pass
        return self.result(job_id)

    def jobs_of(self, token_id: int) -> list[str]:
        """Ids of all jobs of a token, oldest first."""

        async def read() -> list[str]:
            connection = await asyncpg.connect(self.stack.database_url)
            try:
                rows = await connection.fetch(
                    "SELECT job_id FROM analysis.jobs WHERE token_id = $1 ORDER BY job_id",
                    token_id,
                )
            finally:
                await connection.close()
            return [str(row["job_id"]) for row in rows]

        return asyncio.run(read())

    def recording_keys(self, token_id: int) -> list[str]:
        """Keys in S3 of the token's recordings, those of open multipart uploads included."""
        return [
            key for key in self.object_keys("recordings/") if key.split("/")[-2] == str(token_id)
        ]

    def object_keys(self, prefix: str) -> list[str]:
        """Keys in S3 with this prefix, those of open multipart uploads included."""

        async def read(client: S3Client) -> list[str]:
            bucket = self.stack.s3.bucket
            multiparts = await client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
            keys = [each["Key"] for each in multiparts.get("Uploads", ())]
            pages = client.get_paginator("list_objects_v2")
            async for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                keys += [each["Key"] for each in page.get("Contents", ())]
            return keys

        return self._with_s3(read)

    def object_content(self, key: str) -> bytes:
        """The content of an object in S3."""

        async def read(client: S3Client) -> bytes:
            answer = await client.get_object(Bucket=self.stack.s3.bucket, Key=key)
            content: bytes = await answer["Body"].read()
            return content

        return self._with_s3(read)

    def replace_object(self, key: str, content: bytes) -> None:
        """Replace the content of an object in S3."""

        async def put(client: S3Client) -> None:
            await client.put_object(Bucket=self.stack.s3.bucket, Key=key, Body=content)

        self._with_s3(put)

    def abort_multipart_uploads(self, prefix: str) -> None:
        """Abort the multipart uploads with this prefix."""

        async def abort(client: S3Client) -> None:
            bucket = self.stack.s3.bucket
            multiparts = await client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
            for each in multiparts.get("Uploads", ()):
                await client.abort_multipart_upload(
                    Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"]
                )

        self._with_s3(abort)

    def execute(self, statement: str, *arguments: object) -> None:
        """Execute a statement in the database."""

        async def execute() -> None:
            connection = await asyncpg.connect(self.stack.database_url)
            try:
                await connection.execute(statement, *arguments)
            finally:
                await connection.close()

        asyncio.run(execute())

    def _with_s3(self, call: Callable[[S3Client], Awaitable[T]]) -> T:
        s3 = self.stack.s3

        # asyncio.run formats the result of its task, which is slow for a result of several MiB.
        answers: list[T] = []

        async def run() -> None:
            async with SESSION.create_client(
                "s3",
                endpoint_url=s3.endpoint_url,
                region_name="us-east-1",
                aws_access_key_id=s3.access_key,
                aws_secret_access_key=s3.secret_key,
            ) as client:
                answers.append(await call(client))

        asyncio.run(run())
        return answers[0]


def plain_http(url: str, timeout: float = 30) -> httpx.Client:
    """A client without TLS: loading the certificate authorities takes longer than most calls."""
    hooks = {"response": [ISSUED.note]}
    return httpx.Client(base_url=url, timeout=timeout, verify=False, event_hooks=hooks)


def error_info(answer: httpx.Response) -> Json:
    """The ErrorInfo of an error response; also checks the shape of the response."""
    assert answer.headers["content-type"].startswith("application/json"), answer.text
    body = answer.json()
    assert isinstance(body["code"], int)
    assert body["message"]
    info: Json = body["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["domain"] == "sori"
    return info

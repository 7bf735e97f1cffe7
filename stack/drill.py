"""The drill: restores a back-up after all data was lost, and shows the state of every job.

`python -m stack.drill`. It creates jobs and uploads in every state and backs up the
database with the operators' scripts and the bucket through S3's API. Then it deletes the
data of both, restores it, and continues every job and upload. The analysis server keeps
the jobs that it accepted, as a real one does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import grpc
import httpx
from rich.console import Console
from rich.table import Table

from services.registry import SERVICE_NAMES
from sori.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from sori.upload.v1 import upload_pb2, upload_pb2_grpc
from stack import postgres
from stack.analysis_server import PassiveAnalysisServer, passive_analysis_server
from stack.environment import ROOT
from stack.s3 import S3
from stack.seed import SAMPLE_TAKE
from stack.stack import Stack

TOKEN_ID = 1
SCRIPTS = ROOT / "deploy" / "scripts"
# In the order in which they stop: callers before the services that they call.
_PRODUCT = ("gateway", *reversed(SERVICE_NAMES))
_WAIT_SECONDS = 30.0
# More than one part; S3 loses the parts of incomplete uploads with the bucket.
_LARGE_BYTES = 8 * 1024**2
_CHUNK_BYTES = 1024**2
_LEARNER = {"email": "learner@example.com", "password": "correct horse battery"}


@dataclass(frozen=True)
class Object:
    """A copy of an object of the bucket."""

    key: str
    content: bytes
    content_type: str


@dataclass(frozen=True)
class Before:
    """Jobs, uploads and a login session at the back-up: the ids of jobs, by their state."""

    done: str
    dispatched: str
    queued: str
    small_upload: upload_pb2.Upload
    large_upload: upload_pb2.Upload
    refresh_token: str


@dataclass(frozen=True)
class After:
    """The state of the same jobs and uploads after the restore.

    session: the e-mail address of the session's account, or an error. dispatches: the number of
        dispatches of each job id.
    """

    done: str
    dispatched: str
    queued: str
    small_upload: str
    large_upload: str
    session: str
    after_backup: str
    dispatches: dict[str, int]


class Product:
    """The product through its gateway."""

    def __init__(self, stack: Stack, keeper: PassiveAnalysisServer) -> None:
        self._keeper = keeper
        self._http = httpx.Client(base_url=stack.gateway_url, timeout=_WAIT_SECONDS)
        # Without the cookie of the guest, whose takes would become those of the account.
        self._learner = httpx.Client(base_url=stack.gateway_url, timeout=_WAIT_SECONDS)
        self._channel = grpc.insecure_channel(stack.gateway_address)
        self._uploads = upload_pb2_grpc.UploadServiceStub(self._channel)
        self._analyses = analysis_pb2_grpc.AnalysisServiceStub(self._channel)
        self._take = SAMPLE_TAKE.read_bytes()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._learner.close()
        self._channel.close()

    def upload(self, name: str) -> str:
        """Upload a take whose content depends on the name; returns the job's id."""
        files = {"file": ("take.webm", self._take + name.encode())}
        answer = self._http.post(f"/tokens/{TOKEN_ID}/upload-audio", files=files)
        answer.raise_for_status()
        job_id: str = answer.json()["job_id"]
        return job_id

    def begin(self, size: int) -> upload_pb2.Upload:
        """Create a resumable upload and send half of it."""
        request = upload_pb2.CreateUploadRequest(token_id=TOKEN_ID, size=size)
        created = self._uploads.CreateUpload(request)
        half = self._content(size)[: -len(self._take) // 2]
        return self._uploads.WriteUpload(_writes(created.upload_id, 0, half))

    def resume(self, upload: upload_pb2.Upload) -> str:
        """Resume an upload and finish it; returns its state, or the error."""
        try:
            known = self._uploads.GetUpload(upload_pb2.GetUploadRequest(upload_id=upload.upload_id))
            offset = known.committed_size
            rest = self._content(upload.size)[offset:]
            finished = self._uploads.WriteUpload(
                _writes(upload.upload_id, offset, rest, finish_write=True)
            )
        except grpc.RpcError as error:
            return str(error.details())
        return str(upload_pb2.UploadState.Name(finished.state))

    def log_in(self) -> str:
        """Sign up and log in; returns the refresh token."""
        self._learner.post("/auth/signup", json=_LEARNER).raise_for_status()
        answer = self._learner.post("/auth/login", json=_LEARNER).raise_for_status()
        refresh_token: str = answer.json()["refresh_token"]
        return refresh_token

    def refresh(self, refresh_token: str) -> str:
        """Continue a session; returns the e-mail address of its account, or the error."""
        answer = self._learner.post("/auth/refresh", json={"refresh_token": refresh_token})
        if answer.is_error:
            return f"HTTP {answer.status_code}"
        bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}
        account = self._learner.get("/auth/me", headers=bearer)
        return f"HTTP {account.status_code}" if account.is_error else str(account.json()["email"])

    def report(self, job_id: str) -> None:
        """Report a job's results to the webhook URL of its dispatch."""
        (url, *_) = [j["webhook_url"] for j in self._keeper.dispatches() if j["job_id"] == job_id]
        body = {"analysis_results": {"overall_score": 90}}
        self._http.post(url, json=body).raise_for_status()

    def result(self, job_id: str) -> str:
        """A job's status, and its score if it has one."""
        answer = self._http.get(f"/tokens/analysis-result/{job_id}")
        if answer.is_error:
            return f"HTTP {answer.status_code}"
        body: dict[str, Any] = answer.json()
        score = (body.get("result") or {}).get("overall_score")
        return body["status"] if score is None else f"{body['status']}, score {score:g}"

    def wait_until(self, job_id: str, progress: int) -> None:
        """Watch a job until it has reached this progress in percent, or has ended."""
        request = analysis_pb2.WatchAnalysisRequest(job_id=job_id)
        for state in self._analyses.WatchAnalysis(request, timeout=_WAIT_SECONDS):
            if state.progress >= progress:
                return

    def _content(self, size: int) -> bytes:
        return self._take + bytes(size - len(self._take))


def _writes(
    upload_id: str, offset: int, content: bytes, *, finish_write: bool = False
) -> Iterator[upload_pb2.WriteUploadRequest]:
    for start in range(0, len(content), _CHUNK_BYTES):
        chunk = content[start : start + _CHUNK_BYTES]
        yield upload_pb2.WriteUploadRequest(
            upload_id=upload_id, write_offset=offset + start, chunk=chunk
        )
    if finish_write:
        yield upload_pb2.WriteUploadRequest(
            upload_id=upload_id, write_offset=offset + len(content), finish_write=True
        )


def drill(folder: Path) -> tuple[Before, After]:
    """Lose all data and restore it; returns the states before and after."""
    with passive_analysis_server() as keeper:
        environment = {"TARGET_SERVER_URL": keeper.url, "SHUTDOWN_DELAY_SECONDS": "0"}
        with Stack.on_free_ports(folder / "stack", environment, without=("analyzer",)) as stack:
            product = Product(stack, keeper)
            before = _use(product, keeper)
            run_script("backup.sh", stack, folder / "sori.dump")
            objects = list(objects_of(stack.s3))
            lost = product.upload("after the back-up")
            product.close()
            lose_everything(stack)
            run_script("restore.sh", stack, folder / "sori.dump")
            restore_objects(stack.s3, objects)
            start_product(stack)
            product = Product(stack, keeper)
            after = _continue(product, keeper, before, lost)
            product.close()
    return before, after


def lose_everything(stack: Stack) -> None:
    """Stop the product, delete the data of PostgreSQL and S3, and start both empty.

    The settings and keys stay: operators keep them apart from the data.
    """
    for name in (*_PRODUCT, "postgres", "s3"):
        stack.stop(name)
    shutil.rmtree(stack.data_dir / "postgres")
    shutil.rmtree(stack.data_dir / "s3")
    (stack.data_dir / "s3" / "meta").mkdir(parents=True)
    postgres.prepare(stack.data_dir / "postgres", stack.hosts.network)
    for name in ("s3", "postgres"):
        stack.start(name)
    for name in ("postgres", "s3"):
        stack.wait_ready(name)


def start_product(stack: Stack) -> None:
    """Migrate the restored database, and start the product."""
    migrate = [sys.executable, "-m", "services.runtime.migrations"]
    environment = dict(stack.environment)
    subprocess.run(migrate, env=environment, check=True, stdout=subprocess.DEVNULL)
    for name in reversed(_PRODUCT):
        stack.start(name)
    for name in reversed(_PRODUCT):
        stack.wait_ready(name)


def _use(product: Product, keeper: PassiveAnalysisServer) -> Before:
    """Create jobs and uploads in every state."""
    done, dispatched = product.upload("done"), product.upload("dispatched")
    keeper.dispatches(2)
    product.wait_until(dispatched, 90)
    product.report(done)
    keeper.is_open = False
    queued = product.upload("queued")
    small, large = product.begin(len(SAMPLE_TAKE.read_bytes()) * 2), product.begin(_LARGE_BYTES)
    return Before(done, dispatched, queued, small, large, product.log_in())


def _continue(product: Product, keeper: PassiveAnalysisServer, before: Before, lost: str) -> After:
    """Continue every job and upload until it ends."""
    product.report(before.dispatched)
    keeper.is_open = True
    small, large = product.resume(before.small_upload), product.resume(before.large_upload)
    product.wait_until(before.queued, 90)
    product.report(before.queued)
    dispatches = [job["job_id"] for job in keeper.dispatches()]
    return After(
        done=product.result(before.done),
        dispatched=product.result(before.dispatched),
        queued=product.result(before.queued),
        small_upload=small,
        large_upload=large,
        session=product.refresh(before.refresh_token),
        after_backup=product.result(lost),
        dispatches={job_id: dispatches.count(job_id) for job_id in dispatches},
    )


def run_script(name: str, stack: Stack, backup: Path) -> None:
    """Run an operators' script in an operator's environment."""
    path = os.pathsep.join([str(postgres.binaries()), os.environ["PATH"]])
    environment = {"PATH": path, "DATABASE_URL": stack.database_url}
    subprocess.run([SCRIPTS / name, backup], env=environment, check=True, stdout=subprocess.DEVNULL)


def objects_of(s3: S3) -> Iterator[Object]:
    """The objects of the bucket."""
    client = _client(s3)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket):
        for each in page.get("Contents", ()):
            found = client.get_object(Bucket=s3.bucket, Key=each["Key"])
            yield Object(each["Key"], found["Body"].read(), found["ContentType"])


def restore_objects(s3: S3, objects: list[Object]) -> None:
    """Store the objects in the bucket."""
    client = _client(s3)
    for each in objects:
        client.put_object(
            Bucket=s3.bucket, Key=each.key, Body=each.content, ContentType=each.content_type
        )


def _client(s3: S3) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
    )


def main() -> None:
    """Run the drill and print the states."""
    with tempfile.TemporaryDirectory(prefix="sori-drill-") as folder:
        before, after = drill(Path(folder))
    table = Table("at the back-up", "after the restore", title="All data was lost and restored")
    table.add_row("a completed job", after.done)
    table.add_row("a dispatched job, reported by its old webhook_url", after.dispatched)
    table.add_row("a queued job", after.queued)
    table.add_row("a half-finished upload, smaller than a part", after.small_upload)
    table.add_row("a half-finished upload of several parts", after.large_upload)
    table.add_row("a login session", f"{after.session} is logged in")
    table.add_row("(a job created after the back-up)", after.after_backup)
    Console().print(table)
    expected = (before.done, before.dispatched, before.queued)
    if any(after.dispatches.get(job_id) != 1 for job_id in expected):
        sys.exit("A job was dispatched again.")


if __name__ == "__main__":
    main()

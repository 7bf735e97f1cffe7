"""The upload service dies during a one-shot upload: the job fails, and its watchers see it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from sori.upload.v1 import upload_pb2 as pb
from sori.upload.v1 import upload_pb2_grpc
from tests.chaos.cluster_fixture import PATIENCE_SECONDS, RECORDING, Cluster, Take, client_channel


@pytest.mark.timeout(300)
def test_the_job_fails_when_the_upload_service_is_killed_during_an_upload(cluster: Cluster) -> None:
    killed, watching = threading.Event(), threading.Event()

    def requests() -> Iterator[pb.UploadAudioRequest]:
        yield pb.UploadAudioRequest(metadata=pb.UploadAudioMetadata(token_id=1))
        yield pb.UploadAudioRequest(chunk=RECORDING)
        killed.wait()

    with (
        client_channel(cluster.stack.address("upload")) as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        call = upload_pb2_grpc.UploadServiceStub(channel).UploadAudio.future(requests())
        take = Take(str(dict(call.initial_metadata())["x-job-id"]), "")
        end = pool.submit(cluster.watch_until_end, take, watching)
        assert watching.wait(PATIENCE_SECONDS)
        cluster.kill("upload")
        killed.set()
        assert call.code() is grpc.StatusCode.UNAVAILABLE
        status, _ = end.result(PATIENCE_SECONDS)
    row = cluster.jobs([take])[take.job_id]
    assert (status, row["failure_reason"]) == ("failed", "UPLOAD_TIMED_OUT")
    assert len(cluster.final_transitions([take])[take.job_id]) == 1

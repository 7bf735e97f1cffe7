"""The ports of SeaweedFS serve S3 and nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sysconfig
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest
import yaml

from services.registry import PROGRAMS
from stack.environment import ROOT
from stack.ports import HOST, free_ports
from stack.readiness import wait_until
from stack.s3 import S3
from stack.stack import Stack
from tests.databases import copy_database

START_SECONDS = 90
MANIFEST = ROOT / "deploy" / "k8s" / "overlays" / "local" / "s3.yaml"
PARTS = ("master", "volume", "filer", "s3")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of PostgreSQL and SeaweedFS."""
    folder = tmp_path_factory.mktemp("data")
    copy_database(folder)
    with Stack.on_free_ports(
        folder, without=(*PROGRAMS, "analyzer", "gateway"), seeded=False
    ) as stack:
        yield stack


def listening(pid: int | None) -> set[tuple[str, int]]:
    """The addresses and ports on which a process and its children listen."""
    parent = psutil.Process(pid)
    return {
        (each.laddr.ip, each.laddr.port)
        for process in (parent, *parent.children(recursive=True))
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }


def answers_a_stranger(port: int) -> bool:
    """Whether a server gives a client without a certificate any answer but a refusal of TLS."""
    insecure = ssl.create_default_context()
    insecure.check_hostname = False
    insecure.verify_mode = ssl.CERT_NONE
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection((HOST, port), 5) as plain:
        plain.sendall(request)
        answer = _received(plain)
    if answer and b"Client sent an HTTP request to an HTTPS server" not in answer:
        return True
    try:
        with socket.create_connection((HOST, port), 5) as raw, insecure.wrap_socket(raw) as secure:
            secure.sendall(request)
            return bool(_received(secure))
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return False


def _received(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_only_s3_answers_other_programs_of_this_machine(stack: Stack) -> None:
    ports = {port for _, port in listening(stack.pid("s3"))}
    # The HTTP and gRPC ports of the master, the volume server, the filer and S3.
    assert len(ports) >= 2 * len(PARTS)
    assert {port for port in ports if answers_a_stranger(port)} == {stack.local_s3.port}


def test_s3_stores_and_reads_objects(stack: Stack) -> None:
    content = os.urandom(6 * 1024**2)
    stack.local_s3.put("an/object", content)
    assert stack.local_s3.request("GET", "an/object").content == content


def test_the_keys_of_s3_are_in_no_other_program(stack: Stack) -> None:
    process = psutil.Process(stack.pid("postgres"))
    assert not [name for name in process.environ() if name.startswith("WEED_")]


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], S3]]:
    """The container of the overlay `local`, as a process on free ports."""
    folder = tmp_path_factory.mktemp("pod")
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    (workload,) = (each for each in documents if each["kind"] == "StatefulSet")
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    ports = iter(free_ports(2 * len(PARTS)))
    options = {part: (next(ports), next(ports)) for part in PARTS}
    arguments = [each.replace("/data", str(folder)) for each in container["args"]]
    for part, (http, grpc) in options.items():
        arguments += [f"-{part}.port={http}", f"-{part}.port.grpc={grpc}"]
    weed = shutil.which("weed", path=sysconfig.get_path("scripts"))
    assert weed is not None
    s3 = S3(f"http://{HOST}:{options['s3'][0]}", "id", "key-of-the-pod", "sori", "us-east-1")
    environment = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    process = subprocess.Popen(
        [weed, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert wait_until(lambda: stores(s3), START_SECONDS)
        yield process, s3
    finally:
        process.terminate()
        process.wait()


def stores(s3: S3) -> bool:
    try:
        s3.put("an/object", b"content")
    except Exception:
        return False
    return True


def test_the_pod_of_the_local_overlay_offers_only_s3(
    pod: tuple[subprocess.Popen[bytes], S3],
) -> None:
    process, s3 = pod
    offered = {port for address, port in listening(process.pid) if address != HOST}
    # S3 also listens for gRPC. The network policy closes that port.
    assert s3.port in offered
    assert len(offered) <= 2


def test_the_pod_of_the_local_overlay_refuses_other_keys(
    pod: tuple[subprocess.Popen[bytes], S3],
) -> None:
    _, s3 = pod
    stranger = S3(s3.endpoint_url, "id", "another key", s3.bucket, s3.region)
    assert s3.request("GET", "an/object").content == b"content"
    assert stranger.request("GET", "an/object").status_code == 403

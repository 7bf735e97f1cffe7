"""Import and export the catalog as files: `python -m services.catalog.cli import FILE`.

The command connects to CATALOG_ADDRESS; the default is the catalog of the local stack. An
import prints each refused line and exits with status 1 if there was one. An import can be
repeated; `--first-line` resumes it at a line.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import grpc
from pydantic import Field

from services.runtime.settings import Settings
from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc

CHUNK_BYTES = 1024 * 1024


class CliSettings(Settings):
    """The address of the catalog."""

    catalog_address: str = Field("127.0.0.1:50051", description="host:port of the catalog.")


def import_file(catalog: catalog_pb2_grpc.CatalogServiceStub, path: Path, first_line: int) -> bool:
    """Import a file. Returns False if a line was refused.

    Errors: OSError if the file cannot be read.
    """
    progress = pb.ImportCatalogResponse()
    # gRPC would hide an error of opening it.
    with path.open("rb") as file:
        for progress in catalog.ImportCatalog(_chunks(file, first_line)):
            for refused in progress.refused_lines:
                print(f"line {refused.line}: {refused.reason}", file=sys.stderr)
            print(f"durable up to line {progress.last_line}", file=sys.stderr)
    print(
        f"{progress.created} created, {progress.updated} updated,"
        f" {progress.unchanged} unchanged, {progress.refused} refused"
    )
    return progress.refused == 0


def export_file(catalog: catalog_pb2_grpc.CatalogServiceStub, path: Path) -> None:
    """Export into a file. The file appears, or is replaced, only when the export is complete.

    Errors: OSError if the file cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("wb") as file:
            for message in catalog.ExportCatalog(pb.ExportCatalogRequest()):
                file.write(message.chunk)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def main() -> int:
    """Run one command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.catalog.cli", description=__doc__)
    parser.add_argument("command", choices=("import", "export"))
    parser.add_argument("file", type=_path)
    parser.add_argument("--first-line", type=int, default=1)
    arguments = parser.parse_args()
    address = CliSettings.read().catalog_address
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        try:
            if arguments.command == "import":
                return 0 if import_file(catalog, arguments.file, arguments.first_line) else 1
            export_file(catalog, arguments.file)
        except OSError as error:
            problem = error.strerror or error
            print(f"{arguments.command}: {arguments.file}: {problem}.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("Interrupted. Lines reported as durable are stored.", file=sys.stderr)
            return 130
        except grpc.RpcError as error:
            print(f"The catalog at {address} failed: {error.details()}", file=sys.stderr)
            return 1
    return 0


def _path(argument: str) -> Path:
    if not argument:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return Path(argument)


def _chunks(file: BinaryIO, first_line: int) -> Iterator[pb.ImportCatalogRequest]:
    while chunk := file.read(CHUNK_BYTES):
        yield pb.ImportCatalogRequest(chunk=chunk, first_line=first_line)


if __name__ == "__main__":
    sys.exit(main())

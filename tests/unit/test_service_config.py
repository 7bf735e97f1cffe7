"""The service config for clients names exactly the rpcs of the contract."""

from __future__ import annotations

import json
from pathlib import Path

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor

from sori.accounts.v1 import accounts_pb2
from sori.analysis.v1 import analysis_pb2
from sori.catalog.v1 import catalog_pb2
from sori.upload.v1 import tus_pb2, upload_pb2

CONFIG = json.loads(
    (Path(__file__).parents[2] / "protos" / "sori" / "service_config.json").read_text("utf-8")
)


def rpcs(file: FileDescriptor) -> dict[str, set[str]]:
    return {
        service.full_name: {method.name for method in service.methods}
        for service in file.services_by_name.values()
    }


PICTURES = "sori.accounts.v1.AccountPictureService"
SERVICES = {
    # The other services of accounts are not called by programs of the suite.
    PICTURES: rpcs(accounts_pb2.DESCRIPTOR)[PICTURES],
    **rpcs(analysis_pb2.DESCRIPTOR),
    **rpcs(catalog_pb2.DESCRIPTOR),
    **rpcs(upload_pb2.DESCRIPTOR),
    **rpcs(tus_pb2.DESCRIPTOR),
}


POOL = descriptor_pool.Default()
UNARY = [
    (service, method.name)
    for service in SERVICES
    for method in POOL.FindServiceByName(service).methods
    if not method.client_streaming and not method.server_streaming
]


def named() -> list[tuple[str, str]]:
    return [
        (name["service"], method)
        for config in CONFIG["methodConfig"]
        for name in config["name"]
        for method in ([name["method"]] if "method" in name else sorted(SERVICES[name["service"]]))
    ]


def test_every_rpc_is_named_once() -> None:
    every = [(service, method) for service, methods in SERVICES.items() for method in methods]
    assert sorted(named()) == sorted(every)


def test_creations_in_the_catalog_are_not_retried() -> None:
    retried = {
        name.get("method", "")
        for config in CONFIG["methodConfig"]
        if "retryPolicy" in config
        for name in config["name"]
        if name["service"] == "sori.catalog.v1.CatalogService"
    }
    assert not {method for method in retried if method.startswith("Create")}


def test_every_unary_call_has_a_deadline_of_seconds() -> None:
    timeouts = {
        (name["service"], name.get("method")): config.get("timeout")
        for config in CONFIG["methodConfig"]
        for name in config["name"]
    }
    for service, method in UNARY:
        timeout = timeouts.get((service, method)) or timeouts[service, None]
        assert float(timeout.removesuffix("s")) <= 10, method

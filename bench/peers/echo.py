"""A bare grpc.aio server that answers GetToken with fixed bytes: what grpcio alone allows.

`python -m bench.peers.echo PORT FILE`; FILE has the serialized answer.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc

_SERVING = b"\x08\x01"
Context = grpc.aio.ServicerContext[bytes, bytes]


def handlers(answer: bytes) -> tuple[grpc.GenericRpcHandler, ...]:
    """The handlers of GetToken and of the gateway's health check."""

    async def get_token(request: bytes, context: Context) -> bytes:  # noqa: ARG001
        return answer

    async def check(request: bytes, context: Context) -> bytes:  # noqa: ARG001
        return _SERVING

    def handler(service: str, name: str, work: object) -> grpc.GenericRpcHandler:
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            work  # type: ignore[arg-type]
        )
        return grpc.method_handlers_generic_handler(service, {name: method})

    return (
        handler("sori.catalog.v1.CatalogService", "GetToken", get_token),
        handler("grpc.health.v1.Health", "Check", check),
    )


async def serve(port: int, answer: bytes) -> None:
    """Serve until cancelled."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers(answer))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))

"""`python -m bench.peers.fastapi PORT`: serve on this port."""

from __future__ import annotations

import sys

import uvicorn

from bench.peers.fastapi.app import app

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )

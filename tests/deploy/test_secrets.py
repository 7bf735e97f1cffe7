"""make-secrets.sh creates every Secret that pods refer to."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.deploy.rendering import K8S, Rendering, kubectl

OPTIONAL = {("sori-webhook", "signing-key-previous")}


def run_script(**environment: str) -> dict[tuple[str, str], str]:
    """The output of the script: values by the name of the Secret and the key."""
    path = os.pathsep.join([str(Path(kubectl()).parent), os.environ["PATH"]])
    result = subprocess.run(
        [str(K8S / "make-secrets.sh")],
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


def test_the_local_database_url_has_its_password() -> None:
    values = run_script()
    url, password = values["sori-database", "url"], values["sori-database", "password"]
    assert url == f"postgresql://sori:{password}@postgres:5432/sori"


def test_values_come_from_the_environment() -> None:
    values = run_script(
        DATABASE_URL="postgresql://a:b@c/d?sslmode=verify-full",
        AWS_ACCESS_KEY_ID="id",
        AWS_SECRET_ACCESS_KEY="key",
    )
    assert values["sori-database", "url"] == "postgresql://a:b@c/d?sslmode=verify-full"
    assert values["sori-s3", "access-key-id"] == "id"
    assert values["sori-s3", "secret-access-key"] == "key"


def test_each_run_generates_new_keys() -> None:
    first, second = run_script(), run_script()
    assert first["sori-webhook", "signing-key"] != second["sori-webhook", "signing-key"]

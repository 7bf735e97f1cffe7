from __future__ import annotations

from pathlib import Path

import pytest

from stack.environment import kept_secrets, service_environment
from stack.settings import StackSettings

ACCOUNTS = "ACCOUNTS_SECRET"


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    return StackSettings.from_environment({"SORI_DATA_DIR": str(tmp_path), "GATEWAY_PORT": "8001"})


def test_defaults_follow_the_ports(settings: StackSettings) -> None:
    environment = service_environment(settings, {}, {})
    assert environment["WEBHOOK_URL"] == "http://127.0.0.1:8001/tokens/webhook/analysis-complete"
    assert environment["DATABASE_URL"] == "postgresql://sori@127.0.0.1:15432/sori"


def test_the_analyzer_may_call_only_s3_and_the_gateway(settings: StackSettings) -> None:
    environment = service_environment(settings, {}, {"S3_ENDPOINT_URL": "http://s3:9000/"})
    assert environment["ANALYZER_ALLOWED_ORIGINS"] == "http://s3:9000,http://127.0.0.1:8001"
    assert environment["ANALYZER_TOKEN"] == environment["TARGET_SERVER_TOKEN"] != ""


def test_one_replica_is_a_plain_address(settings: StackSettings) -> None:
    assert service_environment(settings, {}, {})["CATALOG_ADDRESS"] == "127.0.0.1:50051"


def test_several_replicas_are_one_grpc_target(tmp_path: Path) -> None:
    settings = StackSettings.from_environment(
        {"SORI_DATA_DIR": str(tmp_path), "SORI_REPLICAS": "2"}
    )
    environment = service_environment(settings, {}, {})
    assert environment["CATALOG_ADDRESS"] == "ipv4:127.0.0.1:50051,127.0.0.1:50151"
    assert environment["CATALOG_LISTEN"] == "127.0.0.1:50051"


def test_user_variables_take_precedence_over_defaults(settings: StackSettings) -> None:
    base = {"TARGET_SERVER_URL": "http://mine/analyze", "S3_BUCKET_NAME": "", "HOME": "/home/me"}
    environment = service_environment(settings, base, {"HEARTBEAT_SECONDS": "1"})
    assert environment["TARGET_SERVER_URL"] == "http://mine/analyze"
    assert environment["S3_BUCKET_NAME"] == "sori"
    assert environment["HOME"] == "/home/me"
    assert environment["HEARTBEAT_SECONDS"] == "1"


def test_overrides_take_precedence_over_all(settings: StackSettings) -> None:
    environment = service_environment(settings, {"AWS_REGION": "eu"}, {"AWS_REGION": "kr"})
    assert environment["AWS_REGION"] == "kr"


def test_secrets_are_generated_once_and_private(tmp_path: Path) -> None:
    first = kept_secrets(tmp_path)
    assert kept_secrets(tmp_path) == first
    assert len(set(first.values())) == len(first) == 5
    assert (tmp_path / "secrets.env").stat().st_mode & 0o777 == 0o600


def test_an_installation_from_before_accounts_gets_their_secret(tmp_path: Path) -> None:
    before = {name: value for name, value in kept_secrets(tmp_path).items() if name != ACCOUNTS}
    lines = (f"{name}={value}\n" for name, value in before.items())
    (tmp_path / "secrets.env").write_text("".join(lines))
    after = kept_secrets(tmp_path)
    assert len(after.pop(ACCOUNTS)) >= 32
    assert after == before


def test_accounts_mail_to_the_sink_and_issue_tokens_of_the_gateway(settings: StackSettings) -> None:
    environment = service_environment(settings, {}, {})
    assert environment["SMTP_URL"] == "smtp://127.0.0.1:15025"
    assert environment["ACCOUNTS_ISSUER"] == environment["APP_URL"] == "http://127.0.0.1:8001"


def test_a_stack_can_refuse_changes_of_strangers(settings: StackSettings) -> None:
    given = service_environment(settings, {}, {})["GATEWAY_ANONYMOUS_ROLES"]
    assert given == "catalog_editor"
    changed = service_environment(settings, {}, {"GATEWAY_ANONYMOUS_ROLES": ""})
    assert changed["GATEWAY_ANONYMOUS_ROLES"] == ""

"""Prometheus evaluates each alert: it fires when its condition lasts, and otherwise does not."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.environment import ROOT
from tests.deploy.alerts import ALERTS, alerts, groups

MINUTES = 120
"""How long each condition lasts, with a sample a minute. Longer than what the alerts wait for."""

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def constant(value: str) -> str:
    return " ".join([value] * (MINUTES + 1))


def growing(by: float, start: float = 0) -> str:
    return f"{start}{by:+}x{MINUTES}"


def requests(status: str) -> str:
    return (
        'envoy_http_downstream_rq_xx{namespace="sori",envoy_http_conn_manager_prefix="gateway",'
        f'envoy_response_code_class="{status}"}}'
    )


def duration(at_most: str) -> str:
    return (
        'envoy_cluster_upstream_rq_time_bucket{namespace="sori",envoy_cluster_name="catalog",'
        f'le="{at_most}"}}'
    )


def logins(outcome: str) -> str:
    return f'sori_accounts_logins_total{{namespace="sori",pod="accounts-1",outcome="{outcome}"}}'


def keys(outcome: str) -> str:
    return f'envoy_http_jwt_authn_jwks_fetch_{outcome}{{namespace="sori",pod="gateway-1"}}'


def ready(pod: str) -> str:
    return f'kube_pod_status_ready{{namespace="sori",pod="{pod}",condition="true"}}'


def volume(amount: str) -> str:
    return f'kubelet_volume_stats_{amount}_bytes{{persistentvolumeclaim="data-postgres-0"}}'


JOBS_DUE = 'sori_analysis_jobs_due{namespace="sori",pod="analysis-worker-1"}'
OLDEST_DUE = 'sori_analysis_oldest_due_seconds{namespace="sori",pod="analysis-worker-1"}'
LIMITED = 'envoy_http_local_rate_limit_rate_limited{namespace="sori"}'
HEAP = 'envoy_overload_envoy_resource_monitors_fixed_heap_pressure{namespace="sori",pod="g"}'
HEALTHY = 'envoy_cluster_membership_healthy{namespace="sori",envoy_cluster_name="accounts"}'
POD = 'namespace="sori",pod="upload-1",container="upload"'
RESTARTS = f"kube_pod_container_status_restarts_total{{{POD}}}"
KILLED = f'kube_pod_container_status_last_terminated_reason{{{POD},reason="OOMKilled"}}'
DEPLOYMENT = 'namespace="sori",deployment="upload"'
SCALER = 'namespace="sori",horizontalpodautoscaler="upload"'
CERTIFICATE = (
    'certmanager_certificate_expiration_timestamp_seconds{namespace="sori",name="gateway"}'
)
LATER = "10000000"


@dataclass(frozen=True)
class Case:
    """Series with their values, while an alert fires and while it does not."""

    bad: Mapping[str, str]
    good: Mapping[str, str]


def gauge(series: str, bad: str, good: str) -> Case:
    return Case({series: constant(bad)}, {series: constant(good)})


CASES = {
    "GatewayErrors": Case(
        {requests("5"): growing(2), requests("2"): growing(98)},
        {requests("5"): growing(0), requests("2"): growing(98)},
    ),
    "GatewaySlow": Case(
        {
            duration("1000"): growing(98),
            **dict.fromkeys(map(duration, ("2500", "+Inf")), growing(100)),
        },
        dict.fromkeys(map(duration, ("1000", "2500", "+Inf")), growing(100)),
    ),
    "NoHealthyReplica": gauge(HEALTHY, "0", "1"),
    "GatewayFull": gauge(HEAP, "90", "50"),
    "ClientsLimited": Case(
        {LIMITED: growing(10), requests("2"): growing(90), requests("4"): growing(10)},
        {LIMITED: growing(1), requests("2"): growing(90), requests("4"): growing(10)},
    ),
    "JobsWait": gauge(OLDEST_DUE, "61", "5"),
    "QueueGrows": Case({JOBS_DUE: growing(10, 600)}, {JOBS_DUE: growing(-1, 900)}),
    "WorkersAbsent": Case({}, {JOBS_DUE: constant("0")}),
    "QueueUnknown": gauge(JOBS_DUE, "NaN", "0"),
    "ErasuresOverdue": gauge('sori_accounts_erasures_overdue{namespace="sori"}', "1", "0"),
    "MailsWait": gauge('sori_accounts_oldest_mail_seconds{namespace="sori"}', "301", "60"),
    "LoginsRefused": Case(
        {
            logins("CREDENTIALS_INVALID"): growing(50),
            logins("TOO_MANY_ATTEMPTS"): growing(50),
            logins("SUCCEEDED"): growing(60),
        },
        {logins("CREDENTIALS_INVALID"): growing(80), logins("SUCCEEDED"): growing(160)},
    ),
    "SigningKeysUnavailable": gauge(
        'sori_accounts_can_sign{namespace="sori",pod="accounts-1"}', "0", "1"
    ),
    "SigningKeyNotRotated": gauge(
        'sori_accounts_signing_key_overdue_seconds{namespace="sori"}', "3700", "0"
    ),
    "KeysNotFetched": Case(
        {keys("failed"): growing(1), keys("success"): growing(0)},
        {keys("failed"): growing(1), keys("success"): growing(1)},
    ),
    "PodCrashes": Case({RESTARTS: growing(1)}, {RESTARTS: constant("3")}),
    "PodOutOfMemory": Case(
        {KILLED: constant("1"), RESTARTS: growing(1)},
        {KILLED: constant("1"), RESTARTS: constant("3")},
    ),
    "ReplicasNotReady": Case(
        {
            f"kube_deployment_status_replicas_ready{{{DEPLOYMENT}}}": constant("1"),
            f"kube_deployment_spec_replicas{{{DEPLOYMENT}}}": constant("2"),
        },
        {
            f"kube_deployment_status_replicas_ready{{{DEPLOYMENT}}}": constant("2"),
            f"kube_deployment_spec_replicas{{{DEPLOYMENT}}}": constant("2"),
        },
    ),
    "RolloutStuck": gauge(
        f'kube_deployment_status_condition{{{DEPLOYMENT},condition="Progressing",status="false"}}',
        "1",
        "0",
    ),
    "MigrationFails": gauge(
        'kube_job_failed{namespace="sori",job_name="migrate-accounts",condition="true"}', "1", "0"
    ),
    "AutoscalerAtMost": Case(
        {
            f"kube_horizontalpodautoscaler_status_current_replicas{{{SCALER}}}": constant("6"),
            f"kube_horizontalpodautoscaler_spec_max_replicas{{{SCALER}}}": constant("6"),
        },
        {
            f"kube_horizontalpodautoscaler_status_current_replicas{{{SCALER}}}": constant("5"),
            f"kube_horizontalpodautoscaler_spec_max_replicas{{{SCALER}}}": constant("6"),
        },
    ),
    "DisruptionBlocked": gauge(
        "kube_poddisruptionbudget_status_pod_disruptions_allowed"
        '{namespace="sori",poddisruptionbudget="upload"}',
        "0",
        "1",
    ),
    "CertificateExpires": gauge(CERTIFICATE, "100000", LATER),
    "GatewayCertificateExpires": gauge(
        'envoy_server_days_until_first_cert_expiring{namespace="sori"}', "1", "30"
    ),
    "DatabaseDown": gauge("pg_up", "0", "1"),
    "DatabaseConnections": Case(
        {
            'pg_stat_activity_count{instance="db",state="idle"}': constant("50"),
            'pg_stat_activity_count{instance="db",state="active"}': constant("35"),
            'pg_settings_max_connections{instance="db"}': constant("100"),
        },
        {
            'pg_stat_activity_count{instance="db",state="idle"}': constant("50"),
            'pg_stat_activity_count{instance="db",state="active"}': constant("20"),
            'pg_settings_max_connections{instance="db"}': constant("100"),
        },
    ),
    "DatabaseDiskFills": Case(
        {volume("available"): constant("10"), volume("capacity"): constant("100")},
        {volume("available"): constant("50"), volume("capacity"): constant("100")},
    ),
    "DatabaseReplicationLags": gauge("pg_replication_lag_seconds", "31", "0"),
    "DatabaseLongTransaction": gauge(
        'pg_stat_activity_max_tx_duration{instance="db",datname="sori"}', "601", "10"
    ),
    "ObjectStoreUnreachable": Case(
        {ready("upload-1"): constant("0"), ready("analysis-api-1"): constant("1")},
        {ready("upload-1"): constant("1"), ready("analysis-api-1"): constant("1")},
    ),
}


def promtool(*arguments: str | Path) -> None:
    command = ["promtool", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def rules_file(folder: Path) -> Path:
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups()}))
    return path


def firing(alert: str, series: Mapping[str, str], number: int) -> dict[str, Any]:
    """A test of promtool: this number of alerts fires at the end."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                "eval_time": f"{MINUTES}m",
                "exp_samples": [{"labels": "{}", "value": number}],
            }
        ],
    }


def test_every_alert_has_a_case() -> None:
    assert list(CASES) == [rule["alert"] for rule in alerts()]


@needs_promtool
def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    promtool("check", "rules", rules_file(tmp_path))


@needs_promtool
@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_exactly_while_its_condition_lasts(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    tests = {
        "rule_files": [str(rules_file(tmp_path))],
        "evaluation_interval": "1m",
        "tests": [firing(alert, case.bad, 1), firing(alert, case.good, 0)],
    }
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump(tests))
    promtool("test", "rules", path)


def test_the_metrics_of_services_exist() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "services").rglob("*.py"))
    for name in re.findall(r"\bsori_\w+", ALERTS.read_text("utf-8")):
        assert f'"{name.removesuffix("_total")}"' in source
